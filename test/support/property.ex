defmodule ErlangPython.Property do
  @moduledoc false
  # PropEr from ExUnit. The property must not raise: Debian's build of PropEr fails in its
  # own handling of exceptions on OTP 24 and newer.

  import ExUnit.Assertions

  @compile {:no_warn_undefined, :proper}

  @spec check(:proper_types.raw_type(), pos_integer(), (term() -> boolean())) :: true
  def check(type, count, property) do
    options = [:quiet, :long_result, numtests: count, max_size: 16]
    result = :proper.quickcheck(:proper.forall(type, property), options)
    assert result == true, "counterexample: #{inspect(result, limit: :infinity)}"
  end
end
