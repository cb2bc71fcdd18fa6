import { expected, integer, oneOf, parseOptions, UsageError } from '../../harness/options.js';
import { CHECKS } from '../checks/checks.js';
import { type Profile, PROFILES, type ProfileName } from '../profiles.js';
import { type FormatName, FORMATS } from '../report/formats.js';
import type { Check } from '../subject.js';
import type { EffectSource, Target } from '../target.js';
import { body, header, MAX_TIMEOUT_MS, names, path, seconds, service, statuses, token } from './values.js';

/** The operation to check, the rules for it, and the form of the report. */
export interface CheckOptions {
  readonly does: 'check';
  readonly target: Target;
  readonly profileName: ProfileName;
  /** The profile, with the rules that replace its own. */
  readonly profile: Profile;
  readonly checks: readonly Check[];
  readonly format: FormatName;
}

/** An OpenAPI document whose operations are listed. */
export interface ListOptions {
  readonly does: 'list';
  readonly file: string;
  readonly keyHeader: string;
  readonly format: 'text' | 'json';
}

const PROFILE_NAMES = Object.keys(PROFILES) as ProfileName[];
const FORMAT_NAMES = Object.keys(FORMATS) as FormatName[];
const CHECK_IDS = CHECKS.map(({ id }) => id);

/** POST /charges of the payment service of this project. */
const CHARGES = {
  path: '/charges',
  body: '{"amount": 1999, "currency": "eur"}',
  'other-body': '{"amount": 2000, "currency": "eur"}',
  'invalid-body': '{"amount": -1, "currency": "eur"}',
  'refused-body': '{"amount": 1999, "currency": "eur", "source": "tok_chargeDeclined"}',
  effects: '/charges?limit=100',
};

/** @throws UsageError if the command line cannot be used */
export function readOptions(args: string[]): CheckOptions | ListOptions {
  const values = parse(args);
  if (values.openapi !== undefined) {
    return {
      does: 'list',
      file: values.openapi,
      keyHeader: token('--key-header', values['key-header'], 'the name of a header'),
      format: oneOf('--format', values.format, ['text', 'json']),
    };
  }
  const profileName = oneOf('--profile', values.profile, PROFILE_NAMES);
  return {
    does: 'check',
    target: targetOf(values),
    profileName,
    profile: { ...PROFILES[profileName], ...rulesOf(values) },
    checks: checksOf(values.only, values.skip),
    format: oneOf('--format', values.format, FORMAT_NAMES),
  };
}

function parse(args: string[]) {
  const text = (value: string) => ({ type: 'string', default: value }) as const;
  const optional = { type: 'string' } as const;
  const texts = { type: 'string', multiple: true, default: [] as string[] } as const;
  return parseOptions({
    args,
    options: {
      url: text(''),
      method: text('POST'),
      path: optional,
      header: texts,
      body: optional,
      'other-body': optional,
      'invalid-body': optional,
      'refused-body': optional,
      'slow-body': optional,
      'timeout-ms': text('15000'),
      openapi: optional,
      effects: optional,
      'effects-list': text('data'),
      'effects-command': optional,
      'effects-per-request': text('1'),
      id: text('id'),
      profile: text('ours'),
      'key-header': text('Idempotency-Key'),
      'key-form': optional,
      'max-key-length': optional,
      'replay-header': optional,
      success: optional,
      mismatch: optional,
      'in-progress': optional,
      'missing-key': optional,
      'malformed-key': optional,
      'other-header': texts,
      'second-url': optional,
      ttl: optional,
      'kill-command': optional,
      'restart-command': optional,
      lease: text('30'),
      only: optional,
      skip: optional,
      format: text('text'),
    },
  }).values;
}

type Values = ReturnType<typeof parse>;

function targetOf(values: Values): Target {
  const headers = values.header.flatMap((line) => header('--header', line));
  const others = values['other-header'].flatMap((line) => header('--other-header', line));
  const { success, ttl, 'second-url': secondUrl } = values;
  const effects = effectsOf(values);
  return {
    url: service('--url', values.url),
    method: token('--method', values.method, 'a method such as POST').toUpperCase(),
    path: path('--path', values.path ?? CHARGES.path),
    headers,
    ...(others.length > 0 && { otherHeaders: others }),
    ...(secondUrl !== undefined && { secondUrl: service('--second-url', secondUrl) }),
    keyHeader: token('--key-header', values['key-header'], 'the name of a header'),
    ...bodiesOf(values, headers),
    ...(success !== undefined && { success: statuses('--success', success) }),
    id: values.id,
    ...(effects && { effects }),
    effectsPerRequest: integer('--effects-per-request', values['effects-per-request'], 1, Number.MAX_SAFE_INTEGER),
    timeoutMs: integer('--timeout-ms', values['timeout-ms'], 1, MAX_TIMEOUT_MS),
    ...(ttl !== undefined && { ttlMs: seconds('--ttl', ttl) * 1000 }),
    leaseMs: seconds('--lease', values.lease) * 1000,
    ...crashOf(values, effects),
  };
}

/** The default of a value, as long as the operation is the default operation. */
const given = (values: Values, name: Exclude<keyof typeof CHARGES, 'path'>) =>
  values[name] ?? (values.path === undefined ? CHARGES[name] : undefined);

function bodiesOf(values: Values, headers: readonly string[]) {
  const types = headers.filter((_, i) => headers[i - 1]?.toLowerCase() === 'content-type' && i % 2 === 1);
  const [contentType] = types;
  const first = given(values, 'body');
  if (first === undefined)
    throw new UsageError("--body: expected a valid body, or '' for none, because --path is given");
  const [other, refused, slow] = [given(values, 'other-body'), given(values, 'refused-body'), values['slow-body']];
  // An invalid body may be something else than JSON.
  const invalid = given(values, 'invalid-body');
  return {
    body: body('--body', first, contentType),
    ...(other && { otherBody: body('--other-body', other, contentType) }),
    ...(invalid && { invalidBody: invalid }),
    ...(refused && { refusedBody: body('--refused-body', refused, contentType) }),
    ...(slow && { slowBody: body('--slow-body', slow, contentType) }),
  };
}

function effectsOf(values: Values): EffectSource | undefined {
  const command = values['effects-command'];
  if (command !== undefined && values.effects)
    throw new UsageError('--effects-command: expected either --effects or --effects-command');
  if (command !== undefined) return { command };
  const listed = given(values, 'effects');
  return listed ? { path: path('--effects', listed), member: values['effects-list'] } : undefined;
}

function crashOf(values: Values, effects: EffectSource | undefined): Pick<Target, 'crash'> {
  const { 'kill-command': kill, 'restart-command': restart } = values;
  if (kill === undefined) {
    if (restart !== undefined) throw new UsageError('--restart-command: expected --kill-command too');
    return {};
  }
  if (!effects)
    throw new UsageError(
      '--kill-command: expected --effects or --effects-command, because effects are counted after a crash',
    );
  return { crash: { kill, ...(restart !== undefined && { restart }) } };
}

/** The rules that replace the rules of the profile. */
function rulesOf(values: Values): Partial<Profile> {
  const { mismatch, 'missing-key': missing, 'malformed-key': malformed, 'in-progress': inProgress } = values;
  const { 'key-form': form, 'max-key-length': maxLength, 'replay-header': replay } = values;
  return {
    ...(mismatch !== undefined && { otherBody: statuses('--mismatch', mismatch) }),
    ...(inProgress !== undefined && { inProgress: inProgress === '' ? [] : statuses('--in-progress', inProgress) }),
    ...(missing !== undefined && {
      missingKey: missing === 'accepted' ? missing : statuses('--missing-key', missing),
    }),
    ...(malformed !== undefined && { malformedKey: statuses('--malformed-key', malformed) }),
    ...(form !== undefined && { quotesKeys: oneOf('--key-form', form, ['quoted', 'bare']) === 'quoted' }),
    ...(maxLength !== undefined && { maxKeyLength: maxLength === '' ? undefined : length(maxLength) }),
    ...(replay !== undefined && { replayHeader: replay === '' ? undefined : replayHeader(replay) }),
  };
}

/** Node refuses headers of more than 16 kB. */
const length = (text: string) => integer('--max-key-length', text, 1, 8_000);

function replayHeader(line: string): [string, string] {
  const [name, value] = header('--replay-header', line);
  return [name.toLowerCase(), value];
}

function checksOf(only: string | undefined, skip: string | undefined): Check[] {
  const wanted = only === undefined ? CHECK_IDS : names('--only', only, CHECK_IDS);
  const unwanted = skip === undefined ? [] : names('--skip', skip, CHECK_IDS);
  const checks = CHECKS.filter(({ id }) => wanted.includes(id) && !unwanted.includes(id));
  expected('--skip', skip ?? '', checks.length > 0, 'at least one check to be left');
  return checks;
}
