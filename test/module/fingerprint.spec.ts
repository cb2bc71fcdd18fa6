// Goal: prove that the fingerprint is the SHA-256 of the canonical form (RFC 8785), so that only equal requests have the same fingerprint.
// Method: compare generated JSON values with another implementation, beside the examples of the RFC.
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { canonicalJson, canonicalRequest, fingerprintOf } from '../../src/idempotency/http/fingerprint.js';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

// Names that are hard to canonicalise: inherited by every object, sorted as numbers, or not ASCII.
const names = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'toJSON', 'length', '', '9', '10', '-1', 'é', 'e\u0301', '\ufb33', '😀'),
  fc.string({ unit: 'grapheme' }),
);
const numbers = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), fc.maxSafeInteger());

/** Generates JSON values as JSON.parse returns them, in which `__proto__` is an ordinary member. */
const json = fc
  .letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom(null, true, false),
      numbers,
      fc.string({ unit: 'grapheme' }),
      fc.array(tie('value')),
      fc
        .array(fc.tuple(names, tie('value')))
        .map((members) => JSON.parse(`{${members.map(([name, member]) => write(name, member)).join()}}`) as Json),
    ),
  }))
  .value.map((value) => JSON.parse(JSON.stringify(value)) as Json);

const write = (name: string, member: Json) => `${JSON.stringify(name)}:${JSON.stringify(member)}`;

/** Writes the same value differently: members in reverse order, with white space. */
function rewrite(value: Json): string {
  if (Array.isArray(value)) return `[ ${value.map(rewrite).join(' ,\n')} ]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).reverse();
  return `{\t${members.map(([name, member]) => `${JSON.stringify(name)} : ${rewrite(member)}`).join(' , ')}\r\n}`;
}

/** The double with these bits. */
function double(bits: string): number {
  return Buffer.from(bits, 'hex').readDoubleBE();
}

describe('the canonical form of a JSON value', () => {
  it('gives the same canonical form as another implementation of RFC 8785', () => {
    fc.assert(fc.property(json, (value) => expect(canonicalJson(value)).toBe(canonicalize(value))));
  });

  it('gives the same canonical form for any member order and white space', () => {
    fc.assert(
      fc.property(json, (value) => expect(canonicalJson(JSON.parse(rewrite(value)))).toBe(canonicalJson(value))),
    );
  });

  it('gives a canonical form that parses to the same value, so that different values differ', () => {
    fc.assert(
      fc.property(json, (value) => {
        // JSON.stringify writes -0 as 0, so both zeros have one form.
        const exact = JSON.parse(JSON.stringify(value)) as Json;
        expect(isDeepStrictEqual(JSON.parse(canonicalJson(value)), exact)).toBe(true);
      }),
    );
  });

  it.each([
    ['1', '"1"'],
    ['[]', '{}'],
    ['null', '{}'],
    ['{"a":null}', '{}'],
    ['[1,2]', '[2,1]'],
    ['[[1],2]', '[1,[2]]'],
    ['{"a":"b"}', '{"b":"a"}'],
    ['{"__proto__":1}', '{}'],
    ['{"__proto__":1}', '{"__proto__":2}'],
    ['"\\u00e9"', '"e\\u0301"'],
    ['9007199254740991', '9007199254740990'],
    ['0.1', '0.10000000000000002'],
    ['"a"', '"A"'],
    ['""', 'null'],
  ])('gives %s and %s different canonical forms', (a, b) => {
    expect(canonicalJson(JSON.parse(a))).not.toBe(canonicalJson(JSON.parse(b)));
  });

  it.each([
    ['1', '1.0'],
    ['100', '1E2'],
    ['0', '-0'],
    ['"\u00e9"', '"\\u00E9"'],
    ['"/"', '"\\/"'],
    ['"\\n"', '"\\u000a"'],
    ['{"b":1,"a":2}', '{"\\u0061":2,"b":1.0}'],
    ['{"a":1,"a":2}', '{"a":2}'],
  ])('gives %s and %s the same canonical form', (a, b) => {
    expect(canonicalJson(JSON.parse(a))).toBe(canonicalJson(JSON.parse(b)));
  });

  it('gives the canonical form of the example in RFC 8785, section 3.2.2', () => {
    const value: unknown = JSON.parse(String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`);
    expect(canonicalJson(value)).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  it('sorts members by UTF-16 code units, as in RFC 8785, section 3.2.3', () => {
    const sorted = ['\r', '1', '\u0080', '\u00f6', '\u20ac', '\ud83d\ude00', '\ufb33'];
    const backwards = Object.fromEntries(sorted.map((name, i) => [name, i] as const).reverse());
    expect(canonicalJson(backwards)).toBe(`{${sorted.map((name, i) => `${JSON.stringify(name)}:${i}`).join()}}`);
  });

  // The samples of RFC 8785, appendix B.
  it.each([
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['8000000000000001', '-5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['ffefffffffffffff', '-1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['c340000000000000', '-9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['44b52d02c7e14af7', '1.0000000000000001e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef4f', '999999999999999900000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['41b3de4355555554', '333333333.33333325'],
    ['41b3de4355555555', '333333333.3333333'],
    ['41b3de4355555556', '333333333.3333334'],
    ['41b3de4355555557', '333333333.33333343'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
    ['43143ff3c1cb0959', '1424953923781206.2'],
  ])('writes the number with the bits %s as %s', (bits, text) => {
    expect(canonicalJson(double(bits))).toBe(text);
  });

  it('gives a text with a lone surrogate a form of its own, because a parser accepts it', () => {
    const values = ['"\\ud800"', '"\\ud801"', '"\\\\ud800"', '"\\ufffd"'].map((text) => JSON.parse(text) as unknown);
    expect(new Set(values.map(canonicalJson)).size).toBe(values.length);
  });

  it('gives a value of 1,000 levels its form, which is far deeper than the levels that the service accepts', () => {
    const deep = '['.repeat(1_000) + ']'.repeat(1_000);
    expect(canonicalJson(JSON.parse(deep))).toBe(deep);
  });

  it('gives numbers beyond a double a canonical form of their own, so that 1e999 differs from null', () => {
    const values: unknown[] = [
      JSON.parse('1e999') as number,
      JSON.parse('-1e999') as number,
      NaN,
      null,
      'Infinity',
      'NaN',
      Number.MAX_VALUE,
    ];
    const forms = values.map(canonicalJson);
    expect(new Set(forms).size).toBe(forms.length);
  });
});

describe('the fingerprint of a request', () => {
  const fingerprint = (...request: Parameters<typeof canonicalRequest>) => fingerprintOf(canonicalRequest(...request));

  it('makes a fingerprint that is the SHA-256 of operation, route parameters and body as one canonical array', () => {
    fc.assert(
      fc.property(fc.string(), fc.dictionary(fc.string(), fc.string()), json, (operation, parameters, body) => {
        const text = canonicalize([operation, parameters, body]) ?? '';
        expect(fingerprint(operation, parameters, body)).toEqual(createHash('sha256').update(text).digest());
      }),
    );
  });

  it('makes the same fingerprint in every version, because the database stores fingerprints', () => {
    expect(fingerprint('POST /charges', {}, { currency: 'eur', amount: 1999 }).toString('hex')).toBe(
      createHash('sha256').update('["POST /charges",{},{"amount":1999,"currency":"eur"}]').digest('hex'),
    );
  });

  it.each<[string, [string, object, unknown], [string, object, unknown]]>([
    ['operations', ['POST /charges', {}, {}], ['POST /orders', {}, {}]],
    ['methods', ['PUT /orders/:id', { id: 'a' }, {}], ['PATCH /orders/:id', { id: 'a' }, {}]],
    ['route parameters', ['PUT /orders/:id', { id: 'a' }, {}], ['PUT /orders/:id', { id: 'b' }, {}]],
    ['names of route parameters', ['PUT /:a', { a: 'x' }, {}], ['PUT /:a', { b: 'x' }, {}]],
    ['bodies', ['POST /charges', {}, { amount: 1 }], ['POST /charges', {}, { amount: 2 }]],
    ['whether a value is a parameter or a body', ['POST /', { a: 'b' }, {}], ['POST /', {}, { a: 'b' }]],
    ['parts that are equal when joined', ['POST /a', {}, ',{}'], ['POST /a,{}', {}, '']],
    ['quotes that close a part', ['POST /a","b', {}, {}], ['POST /a', {}, 'b']],
    ['whether the body is empty or missing', ['POST /', {}, {}], ['POST /', {}, undefined]],
    ['a number beyond a double or null', ['POST /', {}, { amount: Infinity }], ['POST /', {}, { amount: null }]],
  ])('makes different fingerprints for two requests that differ in %s', (_, a, b) => {
    expect(fingerprint(...a).equals(fingerprint(...b))).toBe(false);
  });
});
