defmodule Bench.Row do
  @moduledoc false
  # One question, one file of bench/rows.

  alias Bench.Result

  @typedoc "`:quick` shows that all runs; its figures are not for quoting."
  @type length :: :full | :quick

  @callback run(length()) :: [Result.t()]
end
