import { SetMetadata } from '@nestjs/common';

export const PUBLIC = 'accounts:public';

/** Lets a route be called without an API key. */
export const Public = () => SetMetadata(PUBLIC, true);
