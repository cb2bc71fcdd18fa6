// Runs the jobs of a file, all at the same time, and writes their results to another file.
import { readFile, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { defaults } from './defaults.js';

const [jobsFile, resultsFile] = process.argv.slice(2);

const clientOf = async ({ client, kind }) =>
  kind === 'default' ? defaults[client] : (await import(`./${client}.js`)).charge;

async function run(job) {
  try {
    const charge = await clientOf(job);
    return { key: job.key, reply: await charge(job.url, job.key, job.body, job.timeout_ms) };
  } catch (error) {
    return { key: job.key, error: String(error) };
  }
}

const results = await Promise.all(JSON.parse(await readFile(jobsFile, 'utf8')).map(run));
await writeFile(resultsFile, JSON.stringify(results));
process.exit(0);
