import { readdir, readFile } from 'node:fs/promises';

/**
 * The largest share of the processors that other programs may use while ratios are measured. If others use a share of the machine during one of two
 * measurements, the ratio of the two is wrong by about this share. The narrowest target is 0.95, which is five hundredths from 1.
 */
export const MOST_OTHERS = 0.05;

/** The processor time of a span of work. Shares are of all processors, from 0 to 1. */
export interface ProcessorTime {
  /** Seconds that the benchmark used: its contenders, its databases and its load generator. */
  ownSeconds: number;
  ownShare: number;
  /** The share of other programs, and of other guests of the same host if this machine is virtual. */
  othersShare: number;
}

/** The unit of `/proc` on every platform of Node. */
export const TICKS_PER_SECOND = 100;
/** The parent of the threads of the kernel. Most of their work is for the benchmark, such as writing its files, so they are not others. */
const KERNEL = 2;

/** Ticks since the start of the machine. */
interface Ticks {
  total: number;
  busy: number;
  own: number;
  kernel: number;
}

/**
 * Starts to measure the processor time of a span of work.
 *
 * @returns a function that ends the span and returns its processor time, or undefined if this system has no `/proc`
 */
export async function watchProcessors(): Promise<() => Promise<ProcessorTime | undefined>> {
  const before = await readTicks();
  return async () => {
    const after = await readTicks();
    return before && after && processorTime(before, after);
  };
}

function processorTime(before: Ticks, after: Ticks): ProcessorTime {
  const [total, busy, own, kernel] = (['total', 'busy', 'own', 'kernel'] as const).map(
    (name) => after[name] - before[name],
  ) as [number, number, number, number];
  return {
    ownSeconds: own / TICKS_PER_SECOND,
    ownShare: own / total,
    // The kernel counts the time of a process more exactly than that of the machine, so the difference may be slightly negative.
    othersShare: Math.max(0, busy - own - kernel) / total,
  };
}

async function readTicks(): Promise<Ticks | undefined> {
  const stat = await readFile('/proc/stat', 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  const [user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, softInterrupts = 0, stolen = 0] = (
    stat.split('\n')[0] ?? ''
  )
    .split(/\s+/)
    .slice(1)
    .map(Number);
  // Interrupts are for the benchmark too, because its load comes through the network of the machine.
  const busy = user + nice + system + stolen;
  const total = busy + idle + waiting + interrupts + softInterrupts;
  return { total, busy, ...ticksOf(await readProcesses(), process.pid) };
}

/** One process: its own time with all its threads, and the time of its children that have ended. */
export interface ProcessTicks {
  pid: number;
  parent: number;
  own: number;
  endedChildren: number;
}

/** The time of a process with all its descendants, and the time of the kernel. */
export function ticksOf(processes: readonly ProcessTicks[], root: number): Pick<Ticks, 'own' | 'kernel'> {
  const parents = new Map(processes.map(({ pid, parent }) => [pid, parent]));
  const isOwn = (pid: number): boolean => {
    for (let one: number | undefined = pid; one !== undefined; one = parents.get(one)) if (one === root) return true;
    return false;
  };
  const sum = (some: readonly ProcessTicks[]) =>
    some.reduce((ticks, { own, endedChildren }) => ticks + own + endedChildren, 0);
  return {
    own: sum(processes.filter(({ pid }) => isOwn(pid))),
    kernel: sum(processes.filter(({ parent }) => parent === KERNEL)),
  };
}

/** @throws Error if the process or `/proc` does not exist */
export async function readProcess(pid: number): Promise<ProcessTicks> {
  return processTicks(pid, await readFile(`/proc/${pid}/stat`, 'utf8'));
}

/** Reads all processes of this machine. */
export async function readProcesses(): Promise<ProcessTicks[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  // A process may end in the meantime.
  return (await Promise.all(pids.map((pid) => readProcess(pid).catch(() => [])))).flat();
}

/** @param stat the content of `/proc/PID/stat` */
export function processTicks(pid: number, stat: string): ProcessTicks {
  // The second field is the name of the program in parentheses, which may contain spaces and parentheses. These are fields 4 and 14 to 17.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [user = 0, system = 0, userOfEnded = 0, systemOfEnded = 0] = fields.slice(11, 15);
  return { pid, parent: fields[1] ?? 0, own: user + system, endedChildren: userOfEnded + systemOfEnded };
}
