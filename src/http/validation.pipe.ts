import { type ArgumentMetadata, Injectable, ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';
import { Problem } from './problem.js';

interface FieldError {
  field: string;
  message: string;
}

/** Validates DTOs with class-validator: unknown members are errors, and each error names its member. */
@Injectable()
export class InputValidationPipe extends ValidationPipe {
  constructor() {
    super({
      transform: true,
      whitelist: true,
      forbidNonWhitelisted: true,
      stopAtFirstError: true,
      // A message that repeats what was sent could repeat what must not be logged.
      validationError: { target: false, value: false },
      exceptionFactory: (errors) => failed([...flatten(errors)]),
    });
  }

  override transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    if (metadata.type === 'body' && (typeof value !== 'object' || value === null || Array.isArray(value))) {
      throw failed([{ field: 'body', message: 'expected a JSON object' }]);
    }
    return super.transform(value, metadata) as Promise<unknown>;
  }
}

function* flatten(errors: ValidationError[], parent = ''): Generator<FieldError> {
  for (const { property, constraints = {}, children = [] } of errors) {
    const field = parent + property;
    for (const [rule, message] of Object.entries(constraints)) {
      yield { field, message: rule === 'whitelistValidation' ? `${field}: there is no such member` : message };
    }
    yield* flatten(children, `${field}.`);
  }
}

function failed(errors: FieldError[]): Problem {
  return new Problem('validation_failed', errors.map(({ message }) => message).join('; '), { extensions: { errors } });
}
