import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, IsNull, Repository } from 'typeorm';
import { validationFailed } from '../http/validation-failed.js';
import type { IdempotentRequest, RecordedReply } from '../idempotency/index.js';
import { runStatement } from '../postgres/transaction.js';
import { Customer } from './customer.entity.js';
import { changeCustomer } from './customers.phases.js';
import { customerNotFound, versionMismatch, versionRequired } from './customers.problems.js';
import { CREATE_OR_REPLACE, DELETE, REPLACE } from './customers.sql.js';
import type { ChangeCustomer } from './dto/change-customer.dto.js';
import { type CustomerResource, toResource } from './dto/customer.resource.js';
import type { ReplaceCustomer } from './dto/replace-customer.dto.js';
import type { Precondition } from './if-match.js';

/** Reads, replaces, changes and deletes the customers of one account. */
@Injectable()
export class CustomersService {
  constructor(
    private readonly dataSource: DataSource,
    @InjectRepository(Customer) private readonly customers: Repository<Customer>,
  ) {}

  /** @throws Problem 404 `not_found` */
  async find(accountId: string, id: string): Promise<CustomerResource> {
    const customer = await this.current(accountId, id);
    if (!customer) throw customerNotFound('not_started');
    return toResource(customer);
  }

  /**
   * Replaces the whole customer. Without a precondition, a customer that does not exist is created. The version stays
   * the same if the content stays the same, so that a retry changes nothing.
   *
   * @returns the customer, and whether this call created it
   * @throws Problem 412 `version_mismatch` if the precondition does not hold
   */
  async replace(
    accountId: string,
    id: string,
    { name, email, status }: ReplaceCustomer,
    precondition: Precondition,
  ): Promise<{ customer: CustomerResource; isNew: boolean }> {
    const parameters = [accountId, id, name, email, status];
    if (precondition.kind === 'none') {
      const [created] = await this.run<Customer & { is_new: boolean }>(CREATE_OR_REPLACE, parameters);
      if (!created) throw new Error('An upsert returned no row');
      return { customer: toResource(created), isNew: created.is_new };
    }
    const [replaced] = await this.run<Customer>(REPLACE, [...parameters, versionsOf(precondition)]);
    if (!replaced) throw versionMismatch(await this.current(accountId, id));
    return { customer: toResource(replaced), isNew: false };
  }

  /**
   * Changes the members that `content` contains, under an optimistic lock.
   *
   * @throws Problem 428 `version_required` if the precondition does not name a version
   * @throws Problem 400 `validation_failed` if `content` has no member
   */
  async change(
    request: IdempotentRequest,
    id: string,
    content: ChangeCustomer,
    precondition: Precondition,
  ): Promise<RecordedReply> {
    if (precondition.kind !== 'versions') throw versionRequired();
    if (Object.values(content).every((value) => value === undefined)) {
      throw validationFailed({ field: 'body', message: 'expected at least one of name, email, status' });
    }
    return request.complete(changeCustomer, { id, versions: precondition.versions, content });
  }

  /**
   * Deletes the customer. Deleting a customer that does not exist succeeds even with a precondition, because there is
   * no version to compare.
   *
   * @throws Problem 412 `version_mismatch` if the customer has a version that the precondition does not list
   */
  async remove(accountId: string, id: string, precondition: Precondition): Promise<void> {
    const parameters = [accountId, id, versionsOf(precondition)];
    const [customer] = await this.run<Customer & { is_deleted: boolean }>(DELETE, parameters);
    if (customer && !customer.is_deleted) throw versionMismatch(customer);
  }

  private run<Row extends object>(text: string, values: unknown[]): Promise<Row[]> {
    return runStatement(this.dataSource, text, values);
  }

  private async current(accountId: string, id: string): Promise<Customer | undefined> {
    return (await this.customers.findOneBy({ account_id: accountId, id, deleted_at: IsNull() })) ?? undefined;
  }
}

/** The versions that a statement may change; `null` allows every version. */
const versionsOf = (precondition: Precondition) => (precondition.kind === 'versions' ? precondition.versions : null);
