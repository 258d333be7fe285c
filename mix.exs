defmodule ErlangPython.MixProject do
  use Mix.Project

  @version "0.1.0-dev"

  def project do
    [
      app: :erlang_python,
      version: @version,
      elixir: "~> 1.14",
      elixirc_paths: elixirc_paths(Mix.env()),
      erlc_paths: erlc_paths(Mix.env()),
      erlc_options: [:debug_info, :warnings_as_errors],
      elixirc_options: elixirc_options(),
      start_permanent: Mix.env() == :prod,
      deps: [],
      description: "Python for the BEAM: supervised pools of Python processes over ZeroMQ",
      package: package(),
      # Read by newer versions of Mix, which look at what no test is, too.
      test_ignore_filters: [~r"^test/(support|fixtures|dialyzer)/"],
      test_coverage: [summary: [threshold: 0]]
    ]
  end

  def application do
    [
      mod: {ErlangPython.Application, []},
      # Pools stop before it does, where it is there: their last events need it.
      extra_applications:
        [:logger, :crypto, telemetry: :optional] ++ extra_applications(Mix.env())
    ]
  end

  # PropEr comes with the system's Erlang. Without it the property tests are excluded. The tests in Erlang are EUnit's.
  defp extra_applications(:test), do: [:eunit, proper: :optional]
  defp extra_applications(_env), do: []

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  # Newer compilers would ask each application named above for its types, and warn where an optional one is absent.
  defp elixirc_options do
    if Version.match?(System.version(), ">= 1.20.0-rc.0"),
      do: [infer_signatures: [:elixir, :logger]],
      else: []
  end

  # The library itself has no Erlang code, its tests have.
  defp erlc_paths(:test), do: ["test/erlang"]
  defp erlc_paths(_env), do: []

  defp package do
    [
      licenses: ["Apache-2.0"],
      files: ~w(lib mix.exs README.md CHANGELOG.md LICENSE .formatter.exs docs
                priv/erlport priv/programs/*.py priv/programs/requirements.lock
                priv/python/erlang priv/python/erlang_python_worker),
      exclude_patterns: ["__pycache__"]
    ]
  end
end
