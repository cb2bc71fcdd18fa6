import { ApiProperty } from '@nestjs/swagger';
import { DeadLetterResource } from './dead-letter.resource.js';

/** The latest dead letters. */
export class DeadLetterList {
  @ApiProperty({ enum: ['list'] })
  object!: 'list';

  @ApiProperty({ type: [DeadLetterResource] })
  data!: DeadLetterResource[];
}
