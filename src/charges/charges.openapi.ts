import { ApiParam } from '@nestjs/swagger';

/** Documents the id of a charge in the path. */
export const ApiChargeId = () =>
  ApiParam({ name: 'id', schema: { type: 'string', example: 'ch_019ab9f2c0de7a3c8f21d5b6e7a8c9d0' } });
