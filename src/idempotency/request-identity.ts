/** Which request: the account and the key name it, the fingerprint says what it is. */
export class RequestIdentity {
  /** Account and key in one text. With its length before the account, since any separator could be part of either. */
  readonly name: string;
  private hash?: Buffer;

  /**
   * @param operation method and route, such as `POST /charges`
   * @param hashOf called once, when the fingerprint is first asked for
   */
  constructor(
    readonly accountId: string,
    readonly key: string,
    readonly operation: string,
    private readonly hashOf: () => Buffer,
  ) {
    this.name = `${accountId.length}:${accountId}${key}`;
  }

  /** SHA-256, 32 bytes. */
  get fingerprint(): Buffer {
    return (this.hash ??= this.hashOf());
  }
}
