import { Agent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { digestOf } from './digest.js';
import type { EventLog, ReplicaName } from './events.js';
import { ATTEMPT_HEADER, REPLICA_HEADER } from './front-proxy.js';

/** A `POST /charges`. */
export interface LabRequest {
  key: string;
  amount: number;
  currency: string;
  /** 2 for the second request that the client means with this key, as after the key has expired. 1 unless given. */
  nth?: number;
}

/** The outcome of one attempt, as the client sees it. */
export type Outcome =
  | { kind: 'reply'; status: number; body: string; digest: string; replayed: boolean }
  /** `wasReused`: the request was sent on a connection that had carried a reply before. */
  | { kind: 'lost'; reason: string; wasReused: boolean };

/** The part of a request that tells it from every other request of a client. */
type Meant = Pick<LabRequest, 'key' | 'nth'>;

export type Answer = { attempt: number; request: Meant } & Outcome;

export type Reply = Extract<Answer, { kind: 'reply' }>;

/** A 200 is the only reply that acknowledges a charge, because no card of the lab is declined. */
export const isAcknowledged = (answer: Answer): answer is Reply => answer.kind === 'reply' && answer.status === 200;

/** Whether the client may send the request again: it has no reply, or the reply says that the outcome is not known yet. */
export const isOpen = (answer: Answer): boolean =>
  answer.kind === 'lost' || answer.status === 409 || (answer.status >= 500 && saysUnknown(answer));

/** Whether the reply itself says that its outcome is unknown. A client takes every other 5xx for a failure. */
export function saysUnknown({ body }: Reply): boolean {
  try {
    return (JSON.parse(body) as { outcome?: unknown } | null)?.outcome === 'unknown';
  } catch {
    return false;
  }
}

const RETRY_PAUSE_MS = 200;

/** Sends requests through the proxy, and remembers what it has received. */
export class LabClient {
  /** All attempts that have ended since the last {@link LabClient.forget}, in the order in which they ended. */
  readonly answers: Answer[] = [];
  private attempts = 0;
  private readonly outcomes = new Set<Promise<Outcome>>();
  private readonly open = new Set<ClientRequest>();
  private readonly agent = new Agent({ keepAlive: true });

  constructor(
    private readonly proxyPort: () => number,
    private readonly events: EventLog,
  ) {}

  /** Number of attempts that have not ended. */
  get underWay(): number {
    return this.outcomes.size;
  }

  /**
   * Counts an attempt, and remembers its answer. The proxy counts the attempts of other clients here, such as curl, so that the verdict knows
   * them too.
   *
   * @param make receives the number of the attempt, and never throws
   */
  async count(request: Meant, make: (attempt: number) => Promise<Outcome>): Promise<Answer> {
    const attempt = ++this.attempts;
    const outcome = make(attempt);
    this.outcomes.add(outcome);
    const answer = { attempt, request, ...(await outcome) };
    this.outcomes.delete(outcome);
    this.answers.push(answer);
    return answer;
  }

  /** Sends a request once. Never throws. */
  send(request: LabRequest, replica: ReplicaName = 'A'): Promise<Answer> {
    return this.count(request, (attempt) => this.post(request, replica, attempt));
  }

  /**
   * Sends a request until a reply settles it, as a careful client does: again after a lost reply, a 409, and a reply that says that the
   * outcome is unknown.
   *
   * @param patienceMs returns the last answer if none has settled the request in this time
   */
  async sendUntilSettled(request: LabRequest, replica: ReplicaName, patienceMs: number): Promise<Answer> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const answer = await this.send(request, replica);
      if (!isOpen(answer) || performance.now() > deadline) return answer;
      await pause(RETRY_PAUSE_MS);
    }
  }

  /**
   * Sends a request as Chromium does: on a connection that has been used before, and again by itself if that connection closes before the
   * first byte of the reply. The application that sent the request does not notice it.
   */
  async sendAsBrowser(request: LabRequest, replica: ReplicaName = 'A'): Promise<Answer> {
    // The page that a browser has loaded before, so that its connection is open.
    await this.get('/').catch(() => undefined);
    const answer = await this.send(request, replica);
    return answer.kind === 'lost' && answer.wasReused ? this.send(request, replica) : answer;
  }

  /** Gives up all attempts that are under way, and forgets all answers. An attempt of another client ends when its replica has answered or ended. */
  async forget(): Promise<void> {
    this.giveUp();
    await Promise.all(this.outcomes);
    this.answers.length = 0;
    this.attempts = 0;
  }

  end(): void {
    this.giveUp();
    this.agent.destroy();
  }

  private giveUp(): void {
    this.open.forEach((outgoing) => outgoing.destroy(new Error('the client gave up')));
  }

  private async get(path: string): Promise<void> {
    const outgoing = httpRequest({ host: '127.0.0.1', port: this.proxyPort(), path, agent: this.agent });
    const arrived = arrivalOf(outgoing);
    outgoing.end();
    await buffer(await arrived);
  }

  private async post(request: LabRequest, replica: ReplicaName, attempt: number): Promise<Outcome> {
    const { key, amount, currency, nth } = request;
    const body = JSON.stringify({ amount, currency });
    this.events.add({ kind: 'request', from: 'client', to: 'proxy', text: 'POST /charges', attempt, key, body, nth });
    const headers = {
      'content-type': 'application/json',
      'idempotency-key': key,
      [REPLICA_HEADER]: replica,
      [ATTEMPT_HEADER]: attempt,
    };
    const target = { host: '127.0.0.1', port: this.proxyPort(), method: 'POST', path: '/charges' };
    const outgoing = httpRequest({ ...target, headers, agent: this.agent });
    this.open.add(outgoing);
    outgoing.on('close', () => this.open.delete(outgoing));
    const arrived = arrivalOf(outgoing);
    outgoing.end(body);
    try {
      const incoming = await arrived;
      const bytes = await buffer(incoming);
      const [status, replayed] = [incoming.statusCode ?? 0, incoming.headers['idempotent-replayed'] === 'true'];
      return { kind: 'reply', status, body: bytes.toString(), digest: digestOf(bytes), replayed };
    } catch (error) {
      return { kind: 'lost', reason: (error as Error).message, wasReused: outgoing.reusedSocket };
    }
  }
}

const arrivalOf = (outgoing: ClientRequest) =>
  new Promise<IncomingMessage>((resolve, reject) => outgoing.on('response', resolve).on('error', reject));
