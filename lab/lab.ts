import { optionsOfProcess, parseOptions } from '../harness/options.js';
import { runTool } from '../harness/processes.js';
import { findScenarios } from './scenarios/find-scenarios.js';
import { readCatalogue } from './server/catalogue.js';
import { Laboratory } from './server/laboratory.js';
import { PageServer } from './server/page-server.js';
import { findImplementations } from './world/implementations.js';

const USAGE = `Usage: npm run lab

Starts the laboratory: two replicas, a proxy, a bank, PostgreSQL, and a page on loopback whose address it prints. SIGINT (Ctrl-C) ends it.
`;

async function main(): Promise<never> {
  const [implementations, scenarios] = await Promise.all([findImplementations(), findScenarios()]);
  const laboratory = new Laboratory(implementations, scenarios);
  const server = await PageServer.start(laboratory, await readCatalogue(implementations, scenarios));
  process.stderr.write(`The laboratory is served at ${server.url}, on loopback only. Ctrl-C ends it.\n`);
  await laboratory.open();
  process.stderr.write(`Its rows: psql ${laboratory.databaseUrl}\n`);
  return new Promise(() => undefined); // a signal ends the laboratory
}

optionsOfProcess(USAGE, (args) => parseOptions({ args }));
// The streams of the pages, all processes and the directory of PostgreSQL end with this process.
await runTool(main);
