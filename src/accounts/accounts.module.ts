import { Module } from '@nestjs/common';
import { ApiKeys } from './api-keys.js';

/** The accounts. Their guards and their interceptor are in the list of `app.module.ts`, because their order among all others matters. */
@Module({ providers: [ApiKeys], exports: [ApiKeys] })
export class AccountsModule {}
