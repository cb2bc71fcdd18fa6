import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { startService } from '../contenders/service.js';
import type { BenchServer } from '../database.js';
import type { LoadJob } from '../load.js';
import { Progress } from '../../harness/progress.js';
import { type Verdict, verdict } from '../results.js';
import { sampleEvery } from '../sampling.js';
import { median } from '../statistics.js';
import type { Worker } from '../worker.js';
import { sendFreshCharges } from './fresh-charges.js';
import { readMetrics } from './metrics.js';

const SAMPLE_INTERVAL_MS = 1_000;
const MIB = 2 ** 20;
const KIB = 1_024;
const QUARTERS = 4;
/** Garbage collection alone changes the heap by a few percent. Memory that grows with the keys would grow by far more in three quarters. */
const FLAT_AT_MOST = 1.1;

/** The memory of the process after a number of keys. */
export interface MemorySample {
  keys: number;
  /** Resident memory, as the system counts it. */
  rssMib: number;
  /** The JavaScript heap, including garbage. */
  heapMib: number;
}

export interface Memory {
  samples: MemorySample[];
  requestsPerSecond: number;
  verdict: Verdict;
}

/** Measures whether the memory of the process grows with the number of keys. */
export async function measureMemory(server: BenchServer, load: Worker<LoadJob>, charges: number): Promise<Memory> {
  const database = await server.createDatabase('growth_memory');
  const service = await startService(database.url);
  const progress = new Progress(charges);
  const take = async (): Promise<MemorySample> => {
    const metrics = await readMetrics(service.url);
    const keys = metrics.get('idempotency_requests_total{outcome="first"}') ?? 0;
    const heapMib = (metrics.get('nodejs_heap_size_used_bytes') ?? NaN) / MIB;
    const rssMib = (await residentBytes(service.program.pid)) / MIB;
    progress.show(`memory after ${keys.toLocaleString('en')} keys: ${Math.round(rssMib)} MiB`, keys);
    return { keys, rssMib, heapMib };
  };
  const sampled = sampleEvery(SAMPLE_INTERVAL_MS, take);
  const { requestsPerSecond } = await sendFreshCharges({ service, database, load }, { until: { requests: charges } });
  const samples = await sampled();
  progress.finish(`memory after ${charges.toLocaleString('en')} keys`, charges);
  await service.program.end();
  return { samples, requestsPerSecond, verdict: flatness(samples, charges) };
}

/** Compares the last quarter of the keys with the second quarter, because the process warms up and fills its caches in the first quarter. */
function flatness(samples: readonly MemorySample[], charges: number): Verdict {
  const quarter = (number: number) => {
    const own = samples.filter(
      ({ keys }) => Math.min(QUARTERS, Math.floor((keys / charges) * QUARTERS) + 1) === number,
    );
    // A short run may have no sample in a quarter.
    return median((own.length > 0 ? own : samples).map(({ rssMib }) => rssMib));
  };
  const text = 'resident memory: last quarter of the keys ÷ second quarter';
  return verdict(text, quarter(QUARTERS) / quarter(2), { atMost: FLAT_AT_MOST });
}

/** Resident memory of a process from /proc, or from ps on systems without /proc. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
  const ps = () => spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }).stdout;
  return Number(status === undefined ? ps() : /VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * KIB;
}
