/** The progress of a consumer in the partitions of a topic, from which the offsets to commit follow. */
export class KafkaOffsets {
  private readonly partitions = new Map<number, { next: bigint; unfinished: Set<bigint> }>();

  /** Notes that a message has arrived. It is unfinished until {@link finish}. */
  receive(partition: number, offset: bigint): void {
    const progress = this.partitions.get(partition) ?? { next: 0n, unfinished: new Set<bigint>() };
    this.partitions.set(partition, progress);
    progress.unfinished.add(offset);
    if (offset >= progress.next) progress.next = offset + 1n;
  }

  finish(partition: number, offset: bigint): void {
    this.partitions.get(partition)?.unfinished.delete(offset);
  }

  /**
   * Returns the offset that may be committed for each partition: the first unfinished one, or the next one to arrive. A crash
   * therefore loses no message. Finished messages behind an unfinished one are delivered again, and the inbox skips them.
   */
  committable(): { partition: number; offset: bigint }[] {
    return [...this.partitions].map(([partition, { next, unfinished }]) => {
      let first = next;
      for (const offset of unfinished) if (offset < first) first = offset;
      return { partition, offset: first };
    });
  }
}
