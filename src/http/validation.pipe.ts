import { type ArgumentMetadata, Injectable, ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';
import { type FieldError, validationFailed } from './validation-failed.js';

/** Validates DTOs with class-validator. Unknown members are errors, and each error names its member. */
@Injectable()
export class InputValidationPipe extends ValidationPipe {
  constructor() {
    super({
      transform: true,
      whitelist: true,
      forbidNonWhitelisted: true,
      stopAtFirstError: true,
      // Errors must not contain the input, because it could be card data.
      validationError: { target: false, value: false },
      exceptionFactory: (errors) => validationFailed(...flatten(errors)),
    });
  }

  override transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    if (metadata.type === 'body' && (typeof value !== 'object' || value === null || Array.isArray(value))) {
      throw validationFailed({ field: 'body', message: 'expected a JSON object' });
    }
    return super.transform(value, metadata) as Promise<unknown>;
  }
}

function* flatten(errors: ValidationError[], parent = ''): Generator<FieldError> {
  for (const { property, constraints = {}, children = [] } of errors) {
    const field = parent + property;
    for (const [rule, message] of Object.entries(constraints)) {
      yield { field, message: rule === 'whitelistValidation' ? 'unknown member' : message };
    }
    yield* flatten(children, `${field}.`);
  }
}
