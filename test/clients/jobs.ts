import { CLIENTS, DEFAULTS, type Client, type Runner, RUNNERS } from './clients.js';
import { CLIENT_TIMEOUT_MS, type Loss, LOSSES } from './losses.js';

/** How a client is used: as docs/clients.md shows it, or with its defaults. */
export type Kind = 'documented' | 'default';

/** One charge by one client, through one loss. The programs of all languages read jobs in this form. */
export interface Job {
  client: string;
  kind: Kind;
  url: string;
  key: string;
  body: object;
  timeout_ms: number;
}

/** The end of a job: the reply that the client returned, or the error that it threw. */
export interface Result {
  key: string;
  reply?: { id?: string; object?: string };
  error?: string;
}

/** The key of a job, which also is the description of its charge. */
export const keyOf = (kind: Kind, { runner, name }: Client, loss: Loss) =>
  `${kind}.${runner}.${name}.${loss.title.replaceAll(' ', '-')}`;

export const clientsOf = (kind: Kind) => (kind === 'documented' ? CLIENTS : DEFAULTS);

export const KINDS: readonly Kind[] = ['documented', 'default'];

/** All jobs of one runner. */
export function jobsOf(runner: Runner, url: string): (Job & { loss: Loss })[] {
  // The bank recognises a charge by its amount.
  let amount = 1000 * (1 + RUNNERS.indexOf(runner));
  return KINDS.flatMap((kind) =>
    clientsOf(kind)
      .filter((client) => client.runner === runner)
      .flatMap((client) =>
        LOSSES.map((loss) => {
          const key = keyOf(kind, client, loss);
          const body = { amount: amount++, currency: 'eur', source: loss.source, description: key };
          return { client: client.name, kind, url, key, body, timeout_ms: CLIENT_TIMEOUT_MS, loss };
        }),
      ),
  );
}
