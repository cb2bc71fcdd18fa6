import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import {
  IsIn,
  IsInt,
  IsISO4217CurrencyCode,
  IsOptional,
  IsString,
  Matches,
  Max,
  Min,
  registerDecorator,
} from 'class-validator';
import { HasLength, lengthOf } from '../../http/text-length.js';
import { CARD_TOKENS, type CardToken } from '../gateway/card-tokens.js';

const MAX_PAIRS = 50;
const MAX_NAME_LENGTH = 40;
const MAX_VALUE_LENGTH = 500;

/** Up to 50 pairs of strings, like Stripe's metadata. A number must be sent as a string, so it cannot lose digits. */
function IsMetadata(): PropertyDecorator {
  const validate = (value: unknown) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).length <= MAX_PAIRS &&
    Object.entries(value).every(
      ([name, text]) =>
        lengthOf(name) <= MAX_NAME_LENGTH && typeof text === 'string' && lengthOf(text) <= MAX_VALUE_LENGTH,
    );
  const message = `expected an object of at most ${MAX_PAIRS} texts, names up to ${MAX_NAME_LENGTH} and texts up to ${MAX_VALUE_LENGTH} characters`;
  return (target, propertyName) =>
    registerDecorator({
      name: 'isMetadata',
      target: target.constructor,
      propertyName: String(propertyName),
      options: { message },
      validator: { validate },
    });
}

/** The body of `POST /charges`. */
export class CreateCharge {
  @ApiProperty({
    type: 'integer',
    example: 1999,
    minimum: 1,
    maximum: 99_999_999,
    description: 'In minor units of the currency, such as cents',
  })
  @Max(99_999_999, { message: 'expected at most 99999999' })
  @Min(1, { message: 'expected at least 1' })
  @IsInt({ message: 'expected an integer number of minor units, such as 1999 for 19.99' })
  amount!: number;

  @ApiProperty({ example: 'eur', pattern: '^[A-Za-z]{3}$', description: 'ISO 4217, in either case' })
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.toLowerCase() : value))
  // The validator of ISO 4217 alone would accept 'uſd', because it compares in upper case ('USD'). The database refuses 'uſd'.
  @Matches(/^[a-z]{3}$/, { message: 'expected an ISO 4217 code such as eur' })
  @IsISO4217CurrencyCode({ message: 'expected an ISO 4217 code such as eur' })
  currency!: string;

  @ApiPropertyOptional({
    nullable: true,
    type: 'string',
    enum: [...CARD_TOKENS, null],
    default: 'tok_visa',
    description: 'A test token; card numbers are refused',
  })
  @IsOptional()
  @IsIn(CARD_TOKENS, { message: `expected one of ${CARD_TOKENS.join(', ')}` })
  source?: CardToken;

  @ApiPropertyOptional({
    nullable: true,
    example: 'docs_order_1',
    minLength: 1,
    maxLength: 255,
    description: 'The order that the charge pays for',
  })
  @IsOptional()
  @HasLength(1, 255)
  @IsString({ message: 'expected text' })
  order_id?: string;

  @ApiPropertyOptional({ nullable: true, example: 'Two coffees', maxLength: 500 })
  @IsOptional()
  @HasLength(0, 500)
  @IsString({ message: 'expected text' })
  description?: string;

  @ApiPropertyOptional({
    nullable: true,
    type: 'object',
    maxProperties: MAX_PAIRS,
    additionalProperties: { type: 'string', maxLength: MAX_VALUE_LENGTH },
    example: { cashier: 'ada' },
    description: `Names have up to ${MAX_NAME_LENGTH} characters`,
  })
  @IsOptional()
  @IsMetadata()
  metadata?: Record<string, string>;
}
