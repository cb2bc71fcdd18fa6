// The server sends the package under this name, because a browser cannot find a package by its name.
export * from 'lit-html';
