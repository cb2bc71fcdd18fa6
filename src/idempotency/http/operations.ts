import { Injectable, RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA, MODULE_PATH, PATH_METADATA, VERSION_METADATA } from '@nestjs/common/constants.js';
import { ApplicationConfig, DiscoveryService, ModulesContainer } from '@nestjs/core';
import { RoutePathFactory } from '@nestjs/core/router/route-path-factory.js';

/** Derives the names of operations, such as `POST /charges`, from the routes of controllers. */
@Injectable()
export class Operations {
  constructor(
    private readonly config: ApplicationConfig,
    private readonly modules: ModulesContainer,
    private readonly discovery: DiscoveryService,
  ) {}

  /**
   * Returns the operations that a handler serves: method and route, with the global prefix, the module's path and the version. A handler
   * with several paths or versions serves several operations.
   *
   * The names are the same as those of `operationOf`, because the routes of both come from Nest's `RoutePathFactory`.
   *
   * @throws Error if the method is not a route of a controller of this application, or is a route of `@All()`, whose requests have many methods
   */
  of(controller: Type, method: string): string[] {
    const handler = (controller.prototype as Record<string, object | undefined>)[method];
    const requestMethod = handler && (Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod | undefined);
    // A controller that several modules declare has the routes of each of them.
    const wrappers = this.discovery.getControllers().filter(({ metatype }) => metatype === controller);
    if (!handler || requestMethod === undefined || wrappers.length === 0) {
      throw new Error(`${controller.name}.${method}: expected a route of a controller of this application`);
    }
    if (requestMethod === RequestMethod.ALL) {
      throw new Error(
        `${controller.name}.${method}: expected one HTTP method instead of @All(), because a method is part of the operation`,
      );
    }
    const versioningOptions = this.config.getVersioning();
    const shared: Parameters<RoutePathFactory['create']>[0] = {
      versioningOptions,
      globalPrefix: this.config.getGlobalPrefix(),
      controllerVersion: versionOf(controller) ?? versioningOptions?.defaultVersion,
      methodVersion: versionOf(handler),
    };
    const factory = new RoutePathFactory(this.config);
    const routes: string[] = [];
    for (const { host } of wrappers) {
      const modulePath = this.modulePathOf(host?.metatype);
      for (const ctrlPath of pathsOf(controller))
        for (const methodPath of pathsOf(handler))
          routes.push(...factory.create({ ...shared, modulePath, ctrlPath, methodPath }, requestMethod));
    }
    return [...new Set(routes)].map((route) => `${RequestMethod[requestMethod]} ${route}`);
  }

  private modulePathOf(module: object | undefined): string | undefined {
    if (!module) return undefined;
    return (Reflect.getMetadata(MODULE_PATH + this.modules.applicationId, module) ??
      Reflect.getMetadata(MODULE_PATH, module)) as string | undefined;
  }
}

/** The part of a Fastify or Express request that names the operation. */
export interface RoutedRequest {
  method: string;
  /** Fastify. */
  routeOptions?: { url?: string };
  /** Express. */
  route?: { path: string };
}

/** Returns the operation of a request: its method and the route that it matched. */
export const operationOf = ({ method, routeOptions, route }: RoutedRequest) =>
  `${method} ${routeOptions?.url ?? route?.path ?? ''}`;

const pathsOf = (target: object): string[] => [Reflect.getMetadata(PATH_METADATA, target) as string | string[]].flat();

const versionOf = (target: object): string | undefined =>
  Reflect.getMetadata(VERSION_METADATA, target) as string | undefined;
