/** The operation that is checked, and how its effects can be observed. */
export interface Target {
  /** The URL of the service, without a path. */
  readonly url: string;
  /** The URL of another replica of the same service. */
  readonly secondUrl?: string;
  readonly method: string;
  /** `{{unique}}`, in the path and in each body, becomes a different word for each key. */
  readonly path: string;
  /** Alternating names and values of headers, such as credentials. */
  readonly headers: readonly string[];
  /** Credentials of another account. They replace the headers with the same names. */
  readonly otherHeaders?: readonly string[];
  readonly keyHeader: string;
  /** A valid body; '' for a request without a body. */
  readonly body: string;
  /** Another valid body. */
  readonly otherBody?: string;
  /** A body that validation refuses. */
  readonly invalidBody?: string;
  /** A body whose reply is a final refusal, such as a declined card. */
  readonly refusedBody?: string;
  /** A valid body whose request takes long, so that a client can hang up and a process can be killed while it is processed. */
  readonly slowBody?: string;
  /** The statuses of a success; undefined for any 2xx. */
  readonly success?: readonly number[];
  /** The member of a reply that contains the id of the created resource, such as `id` or `data.id`. */
  readonly id: string;
  readonly effects?: EffectSource;
  /** By how much one request raises the number of effects. */
  readonly effectsPerRequest: number;
  /** The longest time that an answer may take. */
  readonly timeoutMs: number;
  /** How long the service keeps a key. */
  readonly ttlMs?: number;
  /** How long a key may stay stuck after a crash. */
  readonly leaseMs: number;
  readonly crash?: CrashCommands;
}

/**
 * Where effects are counted: the member of the answer of a path that is the list of created resources (newest first) or their number; or a command
 * that prints the number.
 */
export type EffectSource = { readonly path: string; readonly member: string } | { readonly command: string };

/** Commands for `sh`. Only these commands kill and start the service. */
export interface CrashCommands {
  readonly kill: string;
  /** Undefined if the service is restarted without the help of the kit. */
  readonly restart?: string;
}

export const isSuccess = ({ success }: Target, status: number) =>
  success?.includes(status) ?? (status >= 200 && status < 300);

export const successText = ({ success }: Target) => success?.join(' or ') ?? '2xx';
