import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', '.data/', '.chaos/', '.field/'] },
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: {
          allowDefaultProject: ['*.js', 'test/support/*.js', 'conformance/field/*.js', 'conformance/field/*/*.js'],
        },
      },
    },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-console': 'error',
      'max-depth': ['error', 3],
    },
  },
  { files: ['test/**'], rules: { '@typescript-eslint/unbound-method': 'off' } },
  {
    files: ['**/*.js'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: { process: 'readonly' } },
  },
  {
    files: ['test/clients/javascript/*.js'],
    languageOptions: { globals: { AbortSignal: 'readonly', fetch: 'readonly', setTimeout: 'readonly' } },
  },
);
