import { nameWithin } from '../../postgres/lock-order.js';
import { sha256 } from '../http/fingerprint.js';

/** The identity of a request. Account and key name the request. The fingerprint shows whether two requests with that name are the same. */
export class RequestIdentity {
  /** Account and key in one string, unique across accounts. */
  readonly name: string;
  private makeCanonical?: () => string;
  private canonicalText?: string;
  private hash?: Buffer;

  /**
   * @param operation method and route, such as `POST /charges`
   * @param content a function that makes the canonical request when it is first needed; or the fingerprint, if only that is known
   */
  constructor(
    readonly accountId: string,
    readonly key: string,
    readonly operation: string,
    content: (() => string) | Buffer,
  ) {
    this.name = nameWithin(accountId, key);
    if (typeof content === 'function') this.makeCanonical = content;
    else this.hash = content;
  }

  /** The canonical request; `undefined` if only the fingerprint is known. */
  get canonical(): string | undefined {
    if (this.makeCanonical) {
      this.canonicalText = this.makeCanonical();
      // Drop the closure, because it references the HTTP request, which the reply cache must not keep in memory.
      this.makeCanonical = undefined;
    }
    return this.canonicalText;
  }

  /** SHA-256 of the canonical request, 32 bytes. */
  get fingerprint(): Buffer {
    return (this.hash ??= sha256(this.canonical ?? ''));
  }

  /** Frees the memory of the canonical request. `isSame` then compares fingerprints, which have 32 bytes. */
  dropCanonical(): void {
    this.hash = this.fingerprint;
    this.makeCanonical = undefined;
    this.canonicalText = undefined;
  }

  /** Whether `other`, which has the same name, is the same request. */
  isSame(other: RequestIdentity): boolean {
    const { canonical } = this;
    if (canonical !== undefined && other.canonical !== undefined) return canonical === other.canonical;
    return this.fingerprint.equals(other.fingerprint);
  }
}
