import { Charges1795478401000 } from './1795478401000-charges.js';
import { SimulatedBank1795478402000 } from './1795478402000-simulated-bank.js';
import { Messaging1795478403000 } from './1795478403000-messaging.js';
import { Inventory1795478404000 } from './1795478404000-inventory.js';
import { Orders1795478405000 } from './1795478405000-orders.js';
import { Customers1795478406000 } from './1795478406000-customers.js';
import { Balances1795478407000 } from './1795478407000-balances.js';
import { ChargesByAge1795478409000 } from './1795478409000-charges-by-age.js';
import { MailedOrders1795478410000 } from './1795478410000-mailed-orders.js';
import { Refunds1795478411000 } from './1795478411000-refunds.js';
import { SimulatedBankRefunds1795478412000 } from './1795478412000-simulated-bank-refunds.js';
import { StripePayments1795478414000 } from './1795478414000-stripe-payments.js';
import { StripeWebhooks1795478415000 } from './1795478415000-stripe-webhooks.js';
import { GatewayOfCharges1795478416000 } from './1795478416000-gateway-of-charges.js';
import { GivenUpRefunds1795478417000 } from './1795478417000-given-up-refunds.js';
import { FreshMessages1795478418000 } from './1795478418000-fresh-messages.js';
import { RoomInPages1795478419000 } from './1795478419000-room-in-pages.js';
import { idempotencyMigrations } from './idempotency.js';

/** TypeORM reads the time of a migration from the last 13 digits of its name. */
const timeOf = ({ name }: { name: string }) => Number(name.slice(-13));

/** Every migration, oldest first. The list is explicit, so that a file runs only if it is named here. */
export const migrations = [
  ...idempotencyMigrations,
  Charges1795478401000,
  SimulatedBank1795478402000,
  Messaging1795478403000,
  Inventory1795478404000,
  Orders1795478405000,
  Customers1795478406000,
  Balances1795478407000,
  ChargesByAge1795478409000,
  MailedOrders1795478410000,
  Refunds1795478411000,
  SimulatedBankRefunds1795478412000,
  StripePayments1795478414000,
  StripeWebhooks1795478415000,
  GatewayOfCharges1795478416000,
  GivenUpRefunds1795478417000,
  FreshMessages1795478418000,
  RoomInPages1795478419000,
].toSorted((a, b) => timeOf(a) - timeOf(b));
