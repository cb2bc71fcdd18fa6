import { connect } from 'node:net';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';

/** Longer than HAProxy takes to answer on a busy machine. */
const ANSWER_TIMEOUT_MS = 5_000;

export interface RouterOptions {
  /** The file with a line `account cell` for each account, as HAProxy reads it at its start. */
  map: string;
  /** The sockets of the runtime interface of every HAProxy that uses the map: a path, or host:port. */
  sockets: readonly string[];
}

/** The cells of the accounts, as HAProxy knows them. */
export class Router {
  constructor(private readonly options: RouterOptions) {}

  /** The cell to which the requests of the account go, by the file. */
  async cellOf(account: string): Promise<string | undefined> {
    return (await this.lines()).map(partsOf).find(([name]) => name === account)?.[1];
  }

  /** Sends the requests of the account to a cell, from now on and after a restart of HAProxy. Repeating this changes nothing. */
  async send(account: string, cell: string): Promise<void> {
    const { map, sockets } = this.options;
    const lines = (await this.lines()).map((line) => (partsOf(line)[0] === account ? `${account} ${cell}` : line));
    // The file is replaced by a rename, because HAProxy must never read half of a file.
    await writeFile(`${map}.new`, lines.join('\n'), { mode: 0o644 });
    await rename(`${map}.new`, map);
    await Promise.all(sockets.map((socket) => command(socket, `set map ${map} ${account} ${cell}`)));
  }

  private async lines(): Promise<string[]> {
    return (await readFile(this.options.map, 'utf8')).split('\n');
  }
}

const partsOf = (line: string) => line.trim().split(/\s+/);

/** Runs a command of the runtime interface. Such a command answers with an empty line, or with an error. */
async function command(socket: string, line: string): Promise<void> {
  const [, host, port] = /^([^/]+):(\d+)$/.exec(socket) ?? [];
  const connection = port === undefined ? connect(socket) : connect(Number(port), host);
  connection.setTimeout(ANSWER_TIMEOUT_MS, () =>
    connection.destroy(new Error(`HAProxy at ${socket}: no answer in ${ANSWER_TIMEOUT_MS / 1000} s`)),
  );
  connection.end(`${line}\n`);
  const answer = (await text(connection)).trim();
  if (answer !== '') throw new Error(`HAProxy at ${socket}: ${line}: ${answer}`);
}
