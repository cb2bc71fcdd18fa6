/** The identity of a request. Account and key name the request. The fingerprint shows whether two requests with that name are the same. */
export class RequestIdentity {
  /** Account and key in one string, unique across accounts. */
  readonly name: string;

  /**
   * @param operation method and route, such as `POST /charges`
   * @param fingerprint SHA-256 of the canonical request, 32 bytes
   * @param characters length of the canonical request, for estimates of memory
   */
  constructor(
    readonly accountId: string,
    readonly key: string,
    readonly operation: string,
    readonly fingerprint: Buffer,
    readonly characters = 0,
  ) {
    this.name = JSON.stringify([accountId, key]);
  }

  /** Whether `other`, which has the same name, is the same request. */
  isSame(other: RequestIdentity): boolean {
    return this.fingerprint.equals(other.fingerprint);
  }
}
