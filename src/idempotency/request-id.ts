import { randomFillSync } from 'node:crypto';

/**
 * A version 7 UUID, RFC 9562 §5.7: 48 bits of Unix milliseconds, then random bits. Ids made later sort later,
 * which keeps new rows together in the index and lets a list be paged by id.
 */
export function newRequestId(): string {
  const bytes = randomFillSync(Buffer.alloc(16));
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
