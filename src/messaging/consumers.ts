import { Injectable } from '@nestjs/common';
import type { Consumer } from './bus.js';

/** Who is concerned by messages. Features add themselves while the application starts. */
@Injectable()
export class Consumers {
  private readonly byName = new Map<string, Consumer>();

  /** @throws Error for a name that is taken: two consumers with one inbox would each get half of the messages */
  register(consumer: Consumer): void {
    if (this.byName.has(consumer.name)) throw new Error(`There is a consumer named ${consumer.name} already`);
    this.byName.set(consumer.name, consumer);
  }

  find(name: string): Consumer | undefined {
    return this.byName.get(name);
  }

  all(): readonly Consumer[] {
    return [...this.byName.values()];
  }
}
