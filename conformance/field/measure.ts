import type { Finding } from '../finding.js';
import { install, SERVER_ENVIRONMENT } from './install.js';
import { runKit } from './kit.js';
import type { Library } from './library.js';
import type { FieldFinding } from './results.js';
import { Server } from './server.js';
import type { Stores } from './stores.js';

/** How often a check that races is run until the race is lost. */
const TRIES = 6;

const APART = ['expiry', 'crash'];

/** One site with servers of one library, and the options of the kit for them. */
interface Leg {
  readonly name: string;
  readonly replicas: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly options: (servers: readonly Server[]) => readonly string[];
}

/** The checks need servers of different configurations: two replicas, short-lived keys, and a server that is killed. */
function legsOf({ ttl, leaseSeconds }: Library): Leg[] {
  return [
    {
      name: 'two replicas',
      replicas: 2,
      options: ([, second]) => ['--skip', APART.join(), '--second-url', second?.url ?? ''],
    },
    ...(ttl
      ? [{ name: 'expiry', replicas: 1, env: ttl.env, options: () => ['--only', 'expiry', '--ttl', `${ttl.seconds}`] }]
      : []),
    {
      name: 'crash',
      replicas: 1,
      options: ([server]) => [
        '--only',
        'crash',
        '--kill-command',
        server?.killCommand ?? '',
        '--lease',
        `${leaseSeconds}`,
      ],
    },
  ];
}

/**
 * Installs a library, starts its servers, checks them and stops them.
 *
 * @param show receives the step that begins, for the progress
 */
export async function measure(library: Library, stores: Stores, show: (step: string) => void): Promise<FieldFinding[]> {
  show('is being installed');
  const command = await install(library);
  const findings: FieldFinding[] = [];
  // At the same time, because two of the three mostly wait.
  const legs = legsOf(library).map((leg) => runLeg(library, leg, command, stores, show));
  for (const found of await Promise.all(legs)) findings.push(...found);
  return findings;
}

async function runLeg(
  library: Library,
  leg: Leg,
  command: readonly [string, ...string[]],
  stores: Stores,
  show: (step: string) => void,
): Promise<FieldFinding[]> {
  const site = await stores.createSite(library.toolchain !== 'this project');
  const servers: Server[] = [];
  try {
    const env = { ...SERVER_ENVIRONMENT, ...site, ...library.env, ...leg.env };
    for (let i = 0; i < leg.replicas; i++) servers.push(await Server.start(command, env, library.readyPath));
    const options = [...library.kit, ...(await sessions(library, servers)), ...leg.options(servers)];
    const check = (more: readonly string[]) =>
      runKit(servers[0]?.url ?? '', [...options, ...more], (step) => show(`${leg.name}: ${step}`));
    show(leg.name);
    const findings = await check([]);
    const final: FieldFinding[] = [];
    for (const finding of findings) final.push(await repeat(library, finding, check));
    return final;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Repeats a check that races until the race is lost, and says how often it was lost. All other findings stay as they are. */
async function repeat(
  { races = {} }: Library,
  first: Finding,
  check: (more: readonly string[]) => Promise<readonly Finding[]>,
): Promise<FieldFinding> {
  const { id } = first;
  const harm = races[id];
  const plain = ({ verdict, harm, detail }: Finding): FieldFinding => ({ id, verdict, ...(harm && { harm }), detail });
  if (harm === undefined) return plain(first);
  let last = first;
  let runs = 1;
  while (last.harm !== harm && runs < TRIES) {
    [last = first] = await check(['--only', id]);
    runs++;
  }
  return { ...plain(last), runs };
}

/** Logs two clients in at the first server, and returns the options that give their cookies to the kit. */
async function sessions({ logInPath }: Library, [server]: readonly Server[]): Promise<readonly string[]> {
  if (logInPath === undefined || !server) return [];
  const logIn = async () => {
    const response = await fetch(new URL(logInPath, server.url), { method: 'POST' });
    return `Cookie: ${response.headers
      .getSetCookie()
      .map((cookie) => cookie.split(';')[0])
      .join('; ')}`;
  };
  return ['--header', await logIn(), '--other-header', await logIn()];
}
