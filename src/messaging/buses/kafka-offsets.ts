/** Where a consumer is in the partitions of a topic: everything before that place is done. */
export class KafkaOffsets {
  private readonly partitions = new Map<number, { next: bigint; open: Set<bigint> }>();

  /** Something has come that is not done yet. */
  receive(partition: number, offset: bigint): void {
    const place = this.partitions.get(partition) ?? { next: 0n, open: new Set<bigint>() };
    this.partitions.set(partition, place);
    place.open.add(offset);
    if (offset >= place.next) place.next = offset + 1n;
  }

  finish(partition: number, offset: bigint): void {
    this.partitions.get(partition)?.open.delete(offset);
  }

  /**
   * What may be committed: of each partition, the offset to go on at. It stays before what is still open, however much
   * after that is done, so that a crash loses nothing; what is then delivered again is known to the inbox.
   */
  places(): { partition: number; offset: bigint }[] {
    return [...this.partitions].map(([partition, { next, open }]) => {
      let offset = next;
      for (const each of open) if (each < offset) offset = each;
      return { partition, offset };
    });
  }
}
