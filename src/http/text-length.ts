import { ValidateBy } from 'class-validator';

/**
 * The length of a text in Unicode code points, which is what OpenAPI and PostgreSQL call characters.
 *
 * class-validator's own rules leave out presentation selectors, so three times the code units of their limit would pass.
 */
export const lengthOf = (text: string): number => [...text].length;

/** Validates that a member is a text of so many characters, counted by {@link lengthOf}. */
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
