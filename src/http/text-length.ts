import { ValidateBy } from 'class-validator';

/**
 * The length of a text in Unicode code points, the unit that OpenAPI and PostgreSQL call characters.
 *
 * The rules of class-validator do not count presentation selectors, so a text could have three times as many code units as their limit.
 */
export const lengthOf = (text: string): number => [...text].length;

/** Validates that a member is a text with a length from `minimum` to `maximum`, counted by {@link lengthOf}. */
export const HasLength = (minimum: number, maximum: number): PropertyDecorator =>
  ValidateBy(
    {
      name: 'hasLength',
      validator: {
        validate: (value: unknown) =>
          typeof value === 'string' && lengthOf(value) >= minimum && lengthOf(value) <= maximum,
      },
    },
    {
      message: minimum > 0 ? `expected ${minimum} to ${maximum} characters` : `expected at most ${maximum} characters`,
    },
  );
