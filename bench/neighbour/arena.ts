import { setTimeout as pause } from 'node:timers/promises';
import { type Service, startService } from '../contenders/service.js';
import type { BenchDatabase, BenchServer } from '../database.js';
import type { Measurement } from '../measurement.js';
import { type ProcessorTime, watchProcessors } from '../processor-time.js';
import { type OnProgress, Worker } from '../worker.js';
import { API_KEYS } from './accounts.js';
import { checkReading, countEffects } from './honesty.js';
import { HEAD_START_SECONDS, honestLoad, type Load, neighbourSeconds, QUIET_LOAD } from './loads.js';
import type { TrafficJob } from './traffic.js';

/** Long enough for the compiler to have seen every function of the service. */
const WARM_UP = { seconds: 5, connections: 64 };

/** One measurement of account B, and of its neighbour at the same time. */
export interface Reading {
  quiet: Measurement;
  /** Undefined if account B was alone. */
  neighbour: Measurement | undefined;
  /** Undefined if this system has no `/proc`. */
  processors?: ProcessorTime | undefined;
}

/** The service with its default settings and many accounts, and two processes that send to it. */
export class Arena {
  private constructor(
    private readonly server: BenchServer,
    private readonly database: BenchDatabase,
    private readonly service: Service,
    /** Sends account B's charges alone, so that no work of the neighbour's sender is part of account B's latency. */
    private readonly quiet: Worker<TrafficJob>,
    private readonly neighbour: Worker<TrafficJob>,
  ) {}

  static async start(server: BenchServer): Promise<Arena> {
    const database = await server.createDatabase('bench_neighbour');
    const service = await startService(database.url, { API_KEYS });
    const startSender = () => Worker.start<TrafficJob>('bench/neighbour/traffic.js');
    return new Arena(server, database, service, await startSender(), await startSender());
  }

  /** The end of the output of the service, which shows its errors. */
  get output(): string {
    return this.service.output;
  }

  async warmUp(): Promise<void> {
    const { connections, seconds } = WARM_UP;
    await this.measure(honestLoad(connections), { prefix: 'warm-up', seconds }, () => undefined);
  }

  /**
   * Measures account B beside a neighbour, or alone if `load` is undefined.
   *
   * @param span `prefix` is part of every key, so no other measurement may have the same prefix
   * @throws Error if an answer or an effect is not what it must be
   */
  async measure(
    load: Load | undefined,
    { prefix, seconds }: { prefix: string; seconds: number },
    onProgress: OnProgress,
  ): Promise<Reading> {
    const { url } = this.service;
    await this.server.checkpoint();
    const before = await countEffects(this.database);
    const processorsUsed = await watchProcessors();
    const [neighbour, quiet] = await Promise.all([
      load && this.neighbour.run({ ...load, url, prefix, seconds: neighbourSeconds(seconds) }, () => undefined),
      pause(HEAD_START_SECONDS * 1000).then(() =>
        this.quiet.run({ ...QUIET_LOAD, url, prefix: `b-${prefix}`, seconds }, onProgress),
      ),
    ]);
    const reading = { quiet, neighbour, processors: await processorsUsed() };
    await checkReading(reading, load?.effect ?? 'none', this.database, before);
    return reading;
  }

  async end(): Promise<void> {
    await this.service.program.end();
  }
}
