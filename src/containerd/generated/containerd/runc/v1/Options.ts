// Original file: proto/runc_options.proto


export interface Options {
  'binaryName'?: (string);
}

export interface Options__Output {
  'binaryName': (string);
}
