defmodule ErlangPython.ErlPort.Options do
  @moduledoc false
  # ErlPort's options as those of a pool (pure, but for ERLPORT_PYTHON and the current folder).

  alias ErlangPython.ErlangFace.Text
  alias ErlangPython.Env.Paths
  alias ErlangPython.Pool

  @type t :: %{pool: keyword(), call_timeout: timeout()}

  # One request at a time, so that messages and calls run in the order in which they come. They wait as they
  # would in a mailbox: without a limit.
  @fixed [workers: 1, window: 1, max_queue: 1_000_000_000]

  @spec parse(term()) :: {:ok, t()} | {:error, {:invalid_option, term(), String.t()}}
  def parse(options) when is_list(options) do
    start = %{pool: python(System.get_env("ERLPORT_PYTHON")), paths: [], call_timeout: :infinity}

    with {:ok, parsed} <- reduce(options, start), do: check(finish(parsed), options)
  end

  def parse(options), do: invalid(options, "the options are a list")

  defp python(nil), do: []
  defp python(""), do: []
  defp python(python), do: [python: python]

  defp reduce([], acc), do: {:ok, acc}

  defp reduce([option | rest], acc) do
    case option(option, acc) do
      %{} = acc -> reduce(rest, acc)
      expected -> invalid(option, expected)
    end
  end

  defp reduce(improper, _acc), do: invalid(improper, "the options are a list")

  defp invalid(option, text), do: {:error, {:invalid_option, option, text}}

  defp option({:python, python}, acc) do
    case text(python) do
      {:ok, python} -> put(acc, :python, python)
      # An environment, which the pool checks.
      :error -> put(acc, :python, python)
    end
  end

  defp option({:python_path, path}, acc) do
    case paths(path) do
      [_ | _] = paths -> %{acc | paths: paths}
      _ -> "{python_path, Path}: a path, paths with colons between them, or a list of these"
    end
  end

  defp option({:cd, folder}, acc) do
    with {:ok, folder} <- text(folder),
         do: put(acc, :cd, folder),
         else: (_ -> "{cd, Folder}: a path")
  end

  defp option({:env, variables}, acc) when is_list(variables) do
    variables = Enum.map(variables, &variable/1)

    if :error in variables,
      do: "{env, [{Name, Value}]}: texts, or false for a variable that is to be removed",
      else: put(acc, :env, variables)
  end

  defp option({key, :infinity}, acc) when key in [:call_timeout, :start_timeout],
    do: timeout(acc, key, :infinity)

  defp option({key, ms}, acc)
       when key in [:call_timeout, :start_timeout] and is_integer(ms) and ms > 0,
       do: timeout(acc, key, ms)

  defp option({:compressed, level}, acc) when level in 0..9, do: acc
  defp option({:packet, bytes}, acc) when bytes in [1, 2, 4], do: acc
  defp option({:buffer_size, size}, acc) when is_integer(size) and size > 0, do: acc
  defp option(option, acc) when option in [:use_stdio, :nouse_stdio], do: acc

  defp option({key, _value}, _acc) when key in [:call_timeout, :start_timeout],
    do: "a timeout is a positive integer (milliseconds) or infinity"

  defp option(_unknown, _acc) do
    "not an option, or not a value for it: there are python, python_path, cd, env, call_timeout, " <>
      "start_timeout, and without effect compressed, packet, buffer_size, use_stdio, nouse_stdio"
  end

  defp timeout(acc, :call_timeout, timeout), do: %{acc | call_timeout: timeout}
  defp timeout(acc, :start_timeout, timeout), do: put(acc, :start_timeout, timeout)

  defp put(acc, key, value), do: %{acc | pool: Keyword.put(acc.pool, key, value)}

  defp paths([]), do: []

  defp paths(path) do
    case text(path) do
      {:ok, text} -> split(text)
      :error when is_list(path) -> Enum.flat_map(path, &element/1)
      :error -> []
    end
  rescue
    # An element is none.
    ArgumentError -> []
  end

  defp element(path) do
    case text(path) do
      {:ok, text} -> split(text)
      :error -> raise ArgumentError, "#{inspect(path)} is no path"
    end
  end

  defp split(text), do: String.split(text, ":", trim: true)

  defp variable({name, false}), do: variable({name, nil}, text(name))
  defp variable({name, value}), do: variable(text(value), text(name))
  defp variable(_other), do: :error

  defp variable({_name, nil}, {:ok, name}), do: {name, nil}
  defp variable({:ok, value}, {:ok, name}), do: {name, value}
  defp variable(_value, _name), do: :error

  defp text(""), do: {:ok, ""}
  defp text([first | _] = text) when is_integer(first), do: text |> Text.code() |> text_result()
  defp text(text) when is_binary(text), do: text |> Text.code() |> text_result()
  defp text(_other), do: :error

  defp text_result({:ok, text}), do: {:ok, text}
  defp text_result({:error, _invalid}), do: :error

  # In the order in which Python looks: our package, which must win, the current folder, the user's paths.
  defp finish(%{pool: pool} = parsed) do
    folder = pool |> Keyword.get(:cd, ".") |> Path.expand()
    of_all_pools = Application.get_env(:erlang_python, :paths, [])
    own = Enum.map(parsed.paths, &Path.expand(&1, folder))
    paths = [Paths.erlport(), folder] ++ own ++ of_all_pools
    %{pool: @fixed ++ [paths: paths] ++ pool, call_timeout: parsed.call_timeout}
  end

  defp check(parsed, options) do
    Pool.Options.new!([name: :erlport] ++ parsed.pool)
    {:ok, parsed}
  rescue
    error in ArgumentError -> invalid(options, Exception.message(error))
  end
end
