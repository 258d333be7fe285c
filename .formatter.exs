[
  inputs: ["{mix,.formatter}.exs", "{lib,test,bench,examples,scripts}/**/*.{ex,exs}"]
]
