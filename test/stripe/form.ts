/** The parameters of a request, by name. Nested names such as `metadata[charge_id]` stay as they are. */
export type Form = ReadonlyMap<string, string>;

export const formOf = (text: string): Form => new Map(new URLSearchParams(text));

/** The members of a nested parameter: `nested(form, 'metadata')` has `charge_id` for `metadata[charge_id]`. */
export const nested = (form: Form, name: string): Record<string, string> =>
  Object.fromEntries(
    [...form].flatMap(([key, value]) => {
      const member = key.startsWith(`${name}[`) ? key.slice(name.length + 1, -1) : undefined;
      return member === undefined ? [] : [[member, value]];
    }),
  );

/** The same text for the same parameters in any order. */
export const canonical = (form: Form): string => JSON.stringify([...form].sort(([a], [b]) => (a < b ? -1 : 1)));

/** The names of the parameters without their nested parts. */
export const namesOf = (form: Form): string[] => [...form.keys()].map((name) => name.split('[')[0] ?? name);
