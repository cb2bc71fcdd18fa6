import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { validationFailed } from './validation-failed.js';

/** An id that clients choose. Only characters that a URL, a log line and a header carry unchanged. */
export const CLIENT_ID = /^[\w.:-]{1,255}$/;
export const CLIENT_ID_EXPECTED = 'expected 1 to 255 letters, digits, or any of _ . : -';

/** Checks an id in the path that clients choose. Other ids are a 400 `validation_failed`. */
@Injectable()
export class ClientId implements PipeTransform<string, string> {
  transform(value: string, { data = 'id' }: ArgumentMetadata): string {
    if (!CLIENT_ID.test(value)) throw validationFailed({ field: data, message: CLIENT_ID_EXPECTED });
    return value;
  }
}
