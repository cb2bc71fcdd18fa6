import { nameWithin } from '../../postgres/lock-order.js';
import { sha256 } from '../http/fingerprint.js';

/** Which request: the account and the key name it, the fingerprint says what it is. */
export class RequestIdentity {
  /** Account and key in one text. */
  readonly name: string;
  private makeText?: () => string;
  private text?: string;
  private hash?: Buffer;

  /**
   * @param operation method and route, such as `POST /charges`
   * @param content makes the canonical request, when that is first asked for; or the fingerprint, where only that is known
   */
  constructor(
    readonly accountId: string,
    readonly key: string,
    readonly operation: string,
    content: (() => string) | Buffer,
  ) {
    this.name = nameWithin(accountId, key);
    if (typeof content === 'function') this.makeText = content;
    else this.hash = content;
  }

  /** The canonical request, where it is known. */
  get canonical(): string | undefined {
    if (this.makeText) {
      this.text = this.makeText();
      // It holds the HTTP request, and what is cached must not.
      this.makeText = undefined;
    }
    return this.text;
  }

  /** SHA-256 of the canonical request, 32 bytes. */
  get fingerprint(): Buffer {
    return (this.hash ??= sha256(this.canonical ?? ''));
  }

  /** Drops the canonical request. The fingerprint says the same in 32 bytes. */
  letGo(): void {
    this.hash = this.fingerprint;
    this.makeText = undefined;
    this.text = undefined;
  }

  /** Whether `other`, which has the same name, is the same request. */
  isSame(other: RequestIdentity): boolean {
    const { canonical } = this;
    if (canonical !== undefined && other.canonical !== undefined) return canonical === other.canonical;
    return this.fingerprint.equals(other.fingerprint);
  }
}
