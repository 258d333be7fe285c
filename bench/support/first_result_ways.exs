defmodule Bench.FirstResultWays do
  @moduledoc false
  # What a reader of docs/getting-started.md types, way by way, and the same as steps in a folder that holds the
  # checkout `erlang_python`. The page has every text of `typed`, and is tested for it.

  @call "ErlangPython.call(:math, :sqrt, [16])"
  @run "mix run -e 'IO.inspect(#{@call})'"
  @dependency ~S({:erlang_python, path: "../erlang_python"})
  @release "releases: [shop: [steps: [:assemble, &ErlangPython.Release.add/1]]]"
  @build "MIX_ENV=prod mix release --quiet --path ../app"
  @eval "app/bin/shop eval 'Application.ensure_all_started(:shop); IO.inspect(#{@call})'"

  # A command, or the one whose output is to have the result; each with the folder that it is typed in.
  @type step ::
          {:sh | :result, where :: Path.t(), String.t()}
          | {:file, Path.t(), String.t()}
  @type way :: %{name: String.t(), typed: [String.t()], steps: [step()]}

  @spec all() :: [way()]
  def all, do: [iex(), project(), livebook(), release()]

  defp iex do
    %{
      name: "IEx",
      typed: ["iex -S mix", @call],
      steps: [{:result, "erlang_python", "echo '#{@call}' | iex -S mix"}]
    }
  end

  defp project do
    %{
      name: "Mix project",
      typed: ["mix new shop", @dependency, @run],
      steps: [
        {:sh, ".", "mix new shop"},
        {:file, "shop/mix.exs", mix_exs("")},
        {:result, "shop", @run}
      ]
    }
  end

  # Its evaluator gives each cell to Elixir, as the command line does here.
  defp livebook do
    install = ~S'Mix.install([{:erlang_python, path: "erlang_python"}])'

    %{
      name: "Livebook",
      typed: [install, @call],
      steps: [{:result, ".", "elixir -e '#{install}' -e 'IO.inspect(#{@call})'"}]
    }
  end

  defp release do
    %{
      name: "release",
      typed: ["mix new shop", @dependency, @release, @build, @eval],
      steps: [
        {:sh, ".", "mix new shop"},
        {:file, "shop/mix.exs", mix_exs(@release <> ",")},
        {:sh, "shop", @build},
        {:result, ".", @eval}
      ]
    }
  end

  defp mix_exs(more) do
    """
    defmodule Shop.MixProject do
      use Mix.Project

      def project do
        [app: :shop, version: "0.1.0", #{more} deps: [#{@dependency}]]
      end

      def application, do: [extra_applications: [:logger]]
    end
    """
  end
end
