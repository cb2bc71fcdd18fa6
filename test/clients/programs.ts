import { execFile } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { need } from '../../harness/brokers/broker.js';
import { Program } from '../../harness/processes.js';
import type { Job, Result } from './jobs.js';

const run = promisify(execFile);

/** Installs what a program needs, in a copy of its folder. Returns its command line. */
type Prepare = (folder: string) => Promise<[command: string, ...args: string[]]>;

/** The programs that run the jobs of a language. Each pins the versions of its libraries in its folder. */
const PREPARE: Record<'javascript' | 'python' | 'go' | 'java', Prepare> = {
  javascript: async (folder) => {
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder]);
    return [process.execPath, join(folder, 'run.js')];
  },
  python: async (folder) => {
    need('python3', 'python3-venv');
    await run('python3', ['-m', 'venv', join(folder, 'venv')]).catch((error: unknown) => {
      throw new Error('test:clients needs a python3 with venv: apt-get install python3-venv', { cause: error });
    });
    const pip = ['install', '--quiet', '--disable-pip-version-check', '-r', join(folder, 'requirements.txt')];
    await run(join(folder, 'venv/bin/pip'), pip);
    return [join(folder, 'venv/bin/python'), join(folder, 'run.py')];
  },
  go: async (folder) => {
    need('go', 'golang-go');
    await run('go', ['build', '-o', 'clients', '.'], { cwd: folder });
    return [join(folder, 'clients')];
  },
  java: async (folder) => {
    need('mvn', 'maven');
    need('javac', 'default-jdk-headless');
    // Java reads the home directory, where Maven keeps its downloads, from the user database and ignores HOME.
    const MAVEN_OPTS = `${process.env['MAVEN_OPTS'] ?? ''} -Duser.home=${homedir()}`;
    const classPathFile = join(folder, 'classpath');
    const goal = ['dependency:build-classpath', '-DincludeScope=runtime', `-Dmdep.outputFile=${classPathFile}`];
    await run('mvn', ['--batch-mode', '--quiet', '-f', join(folder, 'pom.xml'), ...goal], {
      env: { ...process.env, MAVEN_OPTS },
    });
    const classPath = `${folder}:${await readFile(classPathFile, 'utf8')}`;
    await run('javac', ['-cp', classPath, '-d', folder, join(folder, 'Charges.java'), join(folder, 'Run.java')]);
    return ['java', '-cp', classPath, 'Run'];
  },
};

export type Language = keyof typeof PREPARE;
export const LANGUAGES = Object.keys(PREPARE) as Language[];

/**
 * Installs the clients of a language in `directory`.
 *
 * @returns a function that runs jobs, all at the same time
 * @throws Error that names the package that is missing
 */
export async function install(
  language: Language,
  directory: string,
): Promise<(jobs: readonly Job[]) => Promise<Result[]>> {
  const folder = join(directory, language);
  await cp(join('test/clients', language), folder, { recursive: true });
  const [command, ...args] = await PREPARE[language](folder);
  return async (jobs) => {
    const [jobsFile, resultsFile] = [join(folder, 'jobs.json'), join(folder, 'results.json')];
    await writeFile(jobsFile, JSON.stringify(jobs));
    const program = Program.run(command, { name: `clients of ${language}`, args: [...args, jobsFile, resultsFile] });
    const end = await program.ended;
    if (end !== 0) throw new Error(`The clients of ${language} ended with ${end}\n${program.output}`);
    return JSON.parse(await readFile(resultsFile, 'utf8')) as Result[];
  };
}
