/** The names of the checks of the kit. */
export type CheckId = string;

export type Language = 'TypeScript' | 'JavaScript' | 'Python' | 'Go' | 'Rust' | 'Java';

/** How a folder is installed and its server is started. */
export type Toolchain = 'npm' | 'pip' | 'go' | 'cargo' | 'maven' | 'this project';

/** One library in one configuration, with its server in `folder`. */
export interface Library {
  /** The name in the table, which `--only` takes. */
  readonly name: string;
  readonly version: string;
  readonly language: Language;
  readonly toolchain: Toolchain;
  /** The folder of the server, its manifest and its lock file, in `conformance/field`. */
  readonly folder: string;
  /** Where the library keeps its keys. The effects are always rows in PostgreSQL. */
  readonly store: 'PostgreSQL' | 'Redis';
  /** Sentences that say how the configuration differs from the defaults of the library. */
  readonly configuration: string;
  /** Environment of the server besides the addresses of its stores. */
  readonly env?: Readonly<Record<string, string>>;
  /** The promise of the library in our words, and the address of the documentation that gives it. */
  readonly promise: { readonly text: string; readonly address: string };
  /** A path that answers 200 as soon as the server is ready. */
  readonly readyPath: string;
  /** Options of the kit that say what the library documents: statuses, headers, its limit for keys. */
  readonly kit: readonly string[];
  /** Path that gives a client a session. The kit sends its cookie. */
  readonly logInPath?: string;
  /** The lifetime of keys for the check of expiry; undefined if keys do not expire. */
  readonly ttl?: { readonly seconds: number; readonly env: Readonly<Record<string, string>> };
  /** The longest time for which a crash may leave a key stuck: the lease that the documentation gives. */
  readonly leaseSeconds: number;
  /**
   * Checks that race, with the harm of a lost race. They are repeated until the race is lost, because one run proves little.
   */
  readonly races?: Readonly<Record<CheckId, string>>;
  /** Checks of behaviour that the documentation says the library does not have, with the place where it says so. */
  readonly notPromised?: Readonly<Record<CheckId, string>>;
  /** The reason of each failure, as a maintainer of the library would put it. */
  readonly reasons: Readonly<Record<CheckId, string>>;
}
