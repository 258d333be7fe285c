defmodule ErlangPython.Dockerfile do
  @moduledoc false
  # Does what a Dockerfile says without Docker: its absolute paths are those of a fresh folder, and a stage is no more
  # than its variables. What `apt-get` installs has to be on this machine.

  @doc """
  Runs the steps of all stages. Gives the variables and the command of the last one, in which the paths are
  those of `root`.
  """
  @spec build(Path.t(), context: Path.t(), root: Path.t(), env: %{String.t() => String.t()}) ::
          %{env: %{String.t() => String.t()}, cmd: [String.t()], user: String.t()}
  def build(path, opts) do
    ignored = (path <> ".dockerignore") |> File.read!() |> String.split("\n", trim: true)

    start = %{
      opts: Map.new(opts),
      ignored: ignored,
      env: %{},
      cmd: nil,
      user: nil,
      cd: opts[:root]
    }

    state = path |> steps() |> Enum.reduce(start, &step/2)
    Map.take(state, [:env, :cmd, :user])
  end

  defp steps(path) do
    path
    |> File.read!()
    |> String.replace("\\\n", " ")
    |> String.split("\n", trim: true)
    |> Enum.reject(&String.starts_with?(&1, "#"))
    |> Enum.map(&(&1 |> String.split(" ", parts: 2) |> List.to_tuple()))
  end

  defp step({"FROM", "debian:" <> _image}, state), do: %{state | env: %{}, cd: state.opts.root}
  defp step({"RUN", "apt-get update && apt-get install " <> _packages}, state), do: state

  defp step({"ENV", settings}, state) do
    env = for setting <- String.split(settings), into: state.env, do: pair(setting, state)
    %{state | env: env}
  end

  defp step({"WORKDIR", folder}, state), do: %{state | cd: place(folder, state)}
  defp step({"USER", name}, state), do: %{state | user: name}

  defp step({"COPY", "--from=build " <> what}, state) do
    [from, to] = String.split(what)
    # Into another folder than the one in which it was built.
    if from != to, do: raise("copied elsewhere than it was: #{what}")
    state
  end

  defp step({"COPY", what}, state) do
    [from, to] = String.split(what)
    target = place(to, state)
    File.mkdir_p!(target)
    without = Enum.map_join(state.ignored, " ", &"--exclude=./#{&1}")
    copy = "tar -C #{Path.join(state.opts.context, from)} #{without} -c . | tar -x -C #{target}"
    sh!(copy, state)
    state
  end

  defp step({"RUN", command}, state) do
    sh!(command |> String.split() |> Enum.map_join(" ", &place(&1, state)), state)
    state
  end

  defp step({"CMD", json}, state) do
    {words, _} = Code.eval_string(json)
    %{state | cmd: Enum.map(words, &place(&1, state))}
  end

  defp pair(setting, state) do
    [name, value] = String.split(setting, "=", parts: 2)
    {name, place(value, state)}
  end

  # The temporary folder is the machine's.
  defp place("/tmp", _state), do: "/tmp"
  defp place("/" <> path, state), do: Path.join(state.opts.root, path)
  defp place(word, _state), do: word

  defp sh!(command, state) do
    env = Map.merge(state.opts.env, state.env)

    case System.cmd("/bin/sh", ["-ec", command], cd: state.cd, env: env, stderr_to_stdout: true) do
      {_output, 0} -> :ok
      {output, status} -> raise "#{command} ended with #{status}:\n#{output}"
    end
  end
end
