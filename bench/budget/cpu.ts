import { readProcess, readProcesses, TICKS_PER_SECOND } from '../processor-time.js';

const MICROSECONDS_PER_TICK = 1e6 / TICKS_PER_SECOND;

/**
 * Processor time of one process with all its threads, in microseconds.
 *
 * @throws Error if the process or `/proc` does not exist
 */
export async function cpuOf(pid: number): Promise<number> {
  return (await readProcess(pid)).own * MICROSECONDS_PER_TICK;
}

/**
 * Processor time of all processes of a PostgreSQL server, in microseconds: the server, and its backends and workers, also those that have ended.
 *
 * @param leftOut process ids of the backends that serve the benchmark itself, whose time is left out; at least one
 * @throws Error if there is no /proc
 */
export async function cpuOfPostgres(leftOut: readonly number[]): Promise<number> {
  const [backend = NaN] = leftOut;
  const { parent } = await readProcess(backend);
  const children = (await readProcesses()).filter((one) => one.parent === parent && !leftOut.includes(one.pid));
  const server = await readProcess(parent);
  return children.reduce((sum, { own }) => sum + own, server.own + server.endedChildren) * MICROSECONDS_PER_TICK;
}
