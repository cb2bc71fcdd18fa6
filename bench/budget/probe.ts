import { subscribe } from 'node:diagnostics_channel';
import { Socket } from 'node:net';
import { type GCProfilerResult, GCProfiler, getHeapStatistics } from 'node:v8';
import { Conversation, type PostgresCalls } from './conversation.js';

/**
 * This module is loaded into a process of the service, before the code of the service, so the service itself contains no code that measures it. The
 * module counts the bytes of the sockets, the messages to PostgreSQL and the allocated memory, because the kernel does not count them.
 */

/** Bytes of TCP connections, without the headers of TCP and IP. */
export interface Traffic {
  read: number;
  written: number;
}

/** The other ends of the connections of the service. */
const REMOTES = ['client', 'postgres', 'bank'] as const;
type Remote = (typeof REMOTES)[number];

/** The counts of a process between the commands `begin` and `end`. */
export interface ProbeReading extends PostgresCalls {
  traffic: Record<Remote, Traffic>;
  /** Bytes allocated on the JavaScript heap. The bytes of buffers are outside of the heap. */
  allocatedBytes: number;
}

export type ProbeCommand = 'begin' | 'end';
export type ProbeReport = { kind: 'begun' } | { kind: 'ended'; reading: ProbeReading };

const postgresPort = Number(new URL(process.env['DATABASE_URL'] ?? 'postgres://localhost:5432').port);
const calls: PostgresCalls = { statements: 0, transactions: 0, roundTrips: 0 };
const open = new Map<Socket, Remote>();
const closed: Record<Remote, Traffic> = {
  client: { read: 0, written: 0 },
  postgres: { read: 0, written: 0 },
  bank: { read: 0, written: 0 },
};

function countBytes(socket: Socket, remote: Remote): void {
  open.set(socket, remote);
  socket.once('close', () => {
    open.delete(socket);
    closed[remote].read += socket.bytesRead;
    closed[remote].written += socket.bytesWritten;
  });
}

function countCalls(socket: Socket): void {
  const conversation = new Conversation(calls);
  const write = socket.write.bind(socket) as (chunk: Uint8Array, ...rest: unknown[]) => boolean;
  Object.assign(socket, {
    write: (chunk: Uint8Array, ...rest: unknown[]) => {
      conversation.sent(chunk);
      return write(chunk, ...rest);
    },
  });
  socket.on('data', (chunk) => conversation.received(chunk));
}

subscribe('net.server.socket', (message) => countBytes((message as { socket: Socket }).socket, 'client'));

// pg creates its sockets itself, and `net.client.socket` announces only sockets that `net.connect` creates.
const { connect } = Socket.prototype as { connect: (this: Socket, ...args: unknown[]) => Socket };
Object.assign(Socket.prototype, {
  connect(this: Socket, ...args: unknown[]) {
    this.once('connect', () => {
      const isPostgres = this.remotePort === postgresPort;
      countBytes(this, isPostgres ? 'postgres' : 'bank');
      if (isPostgres) countCalls(this);
    });
    return connect.apply(this, args);
  },
});

function trafficSoFar(): Record<Remote, Traffic> {
  const traffic = structuredClone(closed);
  for (const [socket, remote] of open) {
    traffic[remote].read += socket.bytesRead;
    traffic[remote].written += socket.bytesWritten;
  }
  return traffic;
}

/** V8 reports the size of the heap before and after each garbage collection. Between two collections the heap grows by the allocated bytes. */
function allocated(usedAtStart: number, { statistics }: GCProfilerResult, usedAtEnd: number): number {
  let bytes = 0;
  let used = usedAtStart;
  for (const { beforeGC, afterGC } of statistics) {
    bytes += beforeGC.heapStatistics.usedHeapSize - used;
    used = afterGC.heapStatistics.usedHeapSize;
  }
  return bytes + usedAtEnd - used;
}

const heapUsed = () => getHeapStatistics().used_heap_size;

/** Begins to count. @returns the function that ends the count */
function begin(): () => ProbeReading {
  const [callsBefore, trafficBefore, usedBefore] = [{ ...calls }, trafficSoFar(), heapUsed()];
  const profiler = new GCProfiler();
  profiler.start();
  return () => {
    const allocatedBytes = allocated(usedBefore, profiler.stop(), heapUsed());
    const traffic = trafficSoFar();
    for (const remote of REMOTES) {
      traffic[remote].read -= trafficBefore[remote].read;
      traffic[remote].written -= trafficBefore[remote].written;
    }
    return {
      statements: calls.statements - callsBefore.statements,
      transactions: calls.transactions - callsBefore.transactions,
      roundTrips: calls.roundTrips - callsBefore.roundTrips,
      traffic,
      allocatedBytes,
    };
  };
}

const report = (message: ProbeReport) => void process.send?.(message);
let end: (() => ProbeReading) | undefined;

process.on('message', (command: ProbeCommand) => {
  if (command === 'begin') {
    end = begin();
    report({ kind: 'begun' });
  } else if (end) {
    report({ kind: 'ended', reading: end() });
  }
});
process.on('disconnect', () => process.exit());
process.channel?.unref();
