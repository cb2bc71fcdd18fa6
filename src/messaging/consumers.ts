import { Injectable } from '@nestjs/common';
import type { Consumer } from './bus.js';

/** Registry of the consumers. Features register theirs while the application starts. */
@Injectable()
export class Consumers {
  private readonly byName = new Map<string, Consumer>();

  /** @throws Error if the name is taken, because two consumers that share an inbox would each get only some of the messages */
  register(consumer: Consumer): void {
    if (this.byName.has(consumer.name)) throw new Error(`A consumer named ${consumer.name} is already registered`);
    this.byName.set(consumer.name, consumer);
  }

  find(name: string): Consumer | undefined {
    return this.byName.get(name);
  }

  all(): readonly Consumer[] {
    return [...this.byName.values()];
  }
}
