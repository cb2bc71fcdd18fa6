import { Injectable, type OnApplicationBootstrap, type Type } from '@nestjs/common';
import { METHOD_METADATA } from '@nestjs/common/constants.js';
import { DiscoveryService, MetadataScanner, ModuleRef } from '@nestjs/core';
import { RESUMED_BY, type ResumedBy } from './idempotent.metadata.js';
import { Operations } from './operations.js';
import type { IdempotentRequest } from '../request/idempotent-request.js';
import type { RecordedReply } from '../request/reply.js';

/**
 * A request that was taken over because its lease had expired. The request is claimed already, so continue from the intent that its claim has
 * committed.
 */
export interface AbandonedRequest {
  accountId: string;
  requestId: string;
  request: IdempotentRequest;
}

/**
 * The result of a resume that found no intent. Key and intent are committed together, so a missing intent proves that the request has done
 * nothing. Recovery deletes the key, and the next request with the key is new.
 */
export const INTENT_MISSING = 'intent missing';

/** The result of a resume: the reply that `request.complete` returned, or the proof that there is nothing to finish. */
export type Resumed = RecordedReply | typeof INTENT_MISSING;

/** Finishes an abandoned request with `request.complete`, by the same steps as its handler. */
export type Resume = (abandoned: AbandonedRequest) => Promise<Resumed>;

/** The resume of one operation, and the method that a handler names for it. */
interface Resumption {
  resumedBy: ResumedBy;
  resume: Resume;
}

/**
 * The resume of each operation. `@Idempotent({ resumedBy })` on a handler names the method that finishes its requests.
 *
 * The invariant: a claimed request can be finished without its client. The start fails if a handler names a method that does not exist, and
 * `claim` throws if its operation has no resume.
 */
@Injectable()
export class ResumeRegistry implements OnApplicationBootstrap {
  private readonly resumes = new Map<string, Resumption>();

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly operations: Operations,
    private readonly services: ModuleRef,
  ) {}

  /** Runs at bootstrap, because the global prefix and the versioning are set by then. */
  onApplicationBootstrap(): void {
    for (const { metatype } of this.discovery.getControllers()) {
      for (const name of this.scanner.getAllMethodNames(metatype?.prototype as object)) {
        this.register(metatype as Type, name);
      }
    }
  }

  /** Whether requests of the operation can be resumed here. */
  has(operation: string): boolean {
    return this.resumes.has(operation);
  }

  get all(): ReadonlyMap<string, Resumption> {
    return this.resumes;
  }

  private register(controller: Type, name: string): void {
    const handler = (controller.prototype as Record<string, object>)[name];
    // A decorator on the controller holds for each of its routes. Other methods of the controller serve no requests.
    if (!handler || !Reflect.hasMetadata(METHOD_METADATA, handler)) return;
    const resumedBy = (Reflect.getMetadata(RESUMED_BY, handler) ?? Reflect.getMetadata(RESUMED_BY, controller)) as
      ResumedBy | undefined;
    if (!resumedBy) return;
    const [type, method] = resumedBy;
    const service = this.services.get<Record<string, Resume | undefined>>(type, { strict: false });
    if (typeof service[method] !== 'function') {
      throw new Error(
        `${controller.name}.${name}: expected ${type.name} to have the method ${method}, which resumedBy names`,
      );
    }
    for (const operation of this.operations.of(controller, name)) {
      // Two versions of a route that differ in a header only are one operation, so a row does not show which version has claimed it.
      const [otherType, otherMethod] = this.resumes.get(operation)?.resumedBy ?? resumedBy;
      if (otherType !== type || otherMethod !== method) {
        throw new Error(
          `${controller.name}.${name}: expected resumedBy to name ${otherType.name}.${otherMethod}, because another handler of ${operation} names it`,
        );
      }
      this.resumes.set(operation, { resumedBy, resume: async (abandoned) => (service[method] as Resume)(abandoned) });
    }
  }
}
