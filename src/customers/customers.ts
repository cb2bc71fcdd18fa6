import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { IsNull, Repository } from 'typeorm';
import { Customer } from './customer.entity.js';
import type { ReplaceCustomer } from './dto/customer.dto.js';
import { noSuchCustomer, versionMismatch } from './customers.phases.js';
import type { Precondition } from './if-match.js';

/** Reads, replaces and deletes the customers of one account. Each is one statement, and may be repeated. */
@Injectable()
export class Customers {
  constructor(@InjectRepository(Customer) private readonly customers: Repository<Customer>) {}

  /** @throws Problem 404 `not_found` */
  async find(accountId: string, id: string): Promise<Customer> {
    const customer = await this.current(accountId, id);
    if (!customer) throw noSuchCustomer('not_started');
    return customer;
  }

  /**
   * Makes the customer what `content` says. What says so already is left as it is, version and all.
   *
   * @returns the customer, and whether it is new
   * @throws Problem 412 `version_mismatch`
   */
  async replace(
    accountId: string,
    id: string,
    { name, email, status }: ReplaceCustomer,
    precondition: Precondition,
  ): Promise<{ customer: Customer; isNew: boolean }> {
    const parameters: unknown[] = [accountId, id, name, email, status];
    const isConditional = precondition.kind !== 'none';
    if (isConditional) parameters.push(precondition.kind === 'versions' ? precondition.versions : null);
    const [row] = rowsOf(await this.customers.query(isConditional ? REPLACE_IF : REPLACE, parameters));
    if (!row) throw versionMismatch(await this.current(accountId, id));
    const { is_new: isNew = false, ...customer } = row;
    return { customer, isNew };
  }

  /** @throws Problem 412 `version_mismatch` when one was asked for that is not the current one */
  async remove(accountId: string, id: string, precondition: Precondition): Promise<void> {
    const versions = precondition.kind === 'versions' ? precondition.versions : null;
    const [other] = await this.customers.query<Customer[]>(DELETE, [accountId, id, versions]);
    // Deleted is deleted: what is not there any more has no version that could be wrong.
    if (other) throw versionMismatch(other);
  }

  private async current(accountId: string, id: string): Promise<Customer | undefined> {
    return (await this.customers.findOneBy({ account_id: accountId, id, deleted_at: IsNull() })) ?? undefined;
  }
}

type Row = Customer & { is_new?: boolean };

/** TypeORM gives the rows of an INSERT as they are, and those of an UPDATE beside their number. */
const rowsOf = (result: unknown): Row[] =>
  (result as unknown[])[0] instanceof Array ? (result as [Row[]])[0] : (result as Row[]);

// New when nothing was there, or what had been deleted, which is locked before it is asked. Its version goes on, so that
// nobody's old version matches.
const REPLACE = `
  WITH locked AS MATERIALIZED (SELECT deleted_at FROM customers WHERE account_id = $1 AND id = $2 FOR UPDATE)
  INSERT INTO customers AS held (account_id, id, name, email, status, version)
  SELECT $1, $2, $3, $4, $5, 1 FROM (SELECT count(*) FROM locked) AS looked
  ON CONFLICT (account_id, id) DO UPDATE SET
    name = excluded.name, email = excluded.email, status = excluded.status, deleted_at = NULL,
    version = held.version + CASE WHEN (held.name, held.email, held.status) IS NOT DISTINCT FROM
                                       (excluded.name, excluded.email, excluded.status) THEN 0 ELSE 1 END
  RETURNING held.*, xmax = 0 OR EXISTS (SELECT FROM locked WHERE deleted_at IS NOT NULL) AS is_new`;

// $6 the versions that are meant, or NULL for any
const REPLACE_IF = `
  UPDATE customers AS held SET name = $3, email = $4, status = $5,
    version = version + CASE WHEN (name, email, status) IS NOT DISTINCT FROM ($3, $4, $5) THEN 0 ELSE 1 END
  WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL AND ($6::integer[] IS NULL OR version = ANY ($6::integer[]))
  RETURNING held.*`;

// $3 the versions that are meant, or NULL for any. Finds the customer that has another: in the same statement, since one that
// is made right after it has been looked for has no wrong version.
const DELETE = `
  WITH held AS (
    SELECT * FROM customers WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE
  ), deleted AS (
    UPDATE customers SET name = NULL, email = NULL, status = NULL, version = customers.version + 1, deleted_at = clock_timestamp()
    FROM held
    WHERE customers.account_id = $1 AND customers.id = $2 AND ($3::integer[] IS NULL OR held.version = ANY ($3::integer[])))
  SELECT * FROM held WHERE $3::integer[] IS NOT NULL AND version <> ALL ($3::integer[])`;
